// Git's own http-backend behind Go's HTTP server on loopback: `git-http ADDRESS BACKEND FOLDER`. Anybody there may read and write.
package main

import (
	"log"
	"net/http"
	"net/http/cgi"
	"os"
)

func main() {
	address, backend, folder := os.Args[1], os.Args[2], os.Args[3]
	log.Fatal(http.ListenAndServe(address, &cgi.Handler{
		Path: backend,
		Dir:  folder,
		Env: []string{
			"GIT_PROJECT_ROOT=" + folder,
			"GIT_HTTP_EXPORT_ALL=1",
			// With a user, the backend takes pushes.
			"REMOTE_USER=test",
		},
		InheritEnv: []string{"HOME", "GIT_CONFIG_NOSYSTEM"},
	}))
}
