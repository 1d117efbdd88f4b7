//! What a repository brings is never followed and never run.

use crate::support::{MANIFEST, Remote, git, push, told};
use astern_model::source::Source;
use astern_port::source::SourceCode;
use std::os::unix::fs::{PermissionsExt, symlink};

#[tokio::test]
async fn a_link_out_of_the_tree_is_not_followed() {
    let remote = Remote::empty();
    let outside = remote.folder.path().join("outside.yaml");
    std::fs::write(&outside, MANIFEST).unwrap();
    std::fs::create_dir_all(remote.clone().join("deploy")).unwrap();
    symlink(&outside, remote.clone().join("deploy/api.yaml")).unwrap();
    symlink(remote.folder.path(), remote.clone().join("linked")).unwrap();
    remote.commit_all("links");
    let error = push(&remote.source()).await.unwrap_err();
    let text = told(&error);
    assert_eq!(error.code, SourceCode::Place, "{text}");
    assert!(text.contains("deploy/api.yaml (a symbolic link)"), "{text}");
    let linked = Source {
        path: "linked".to_owned(),
        ..remote.source()
    };
    let text = told(&push(&linked).await.unwrap_err());
    assert!(
        text.contains("linked is a symbolic link, and none is followed"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), MANIFEST);
    assert_eq!(remote.branches().len(), 1);
}

#[tokio::test]
async fn a_submodule_and_a_file_of_lfs_are_named() {
    let other = Remote::new();
    let remote = Remote::empty();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12\n";
    remote.commit("lfs", &[("deploy/api.yaml", pointer)]);
    let text = told(&push(&remote.source()).await.unwrap_err());
    assert!(text.contains("deploy/api.yaml (kept in Git LFS)"), "{text}");
    let address = other.bare().display().to_string();
    git(
        &remote.clone(),
        &["submodule", "--quiet", "add", &address, "vendored"],
    );
    remote.commit_all("submodule");
    let inside = Source {
        path: "vendored/deploy".to_owned(),
        ..remote.source()
    };
    let text = told(&push(&inside).await.unwrap_err());
    assert!(text.contains("vendored is a submodule"), "{text}");
}

#[tokio::test]
async fn filters_and_attributes_run_nothing_and_change_no_byte() {
    let remote = Remote::empty();
    let manifest = MANIFEST.replace('\n', "\r\n");
    let mark = remote.folder.path().join("ran");
    remote.commit(
        "attributes",
        &[
            ("deploy/api.yaml", &manifest),
            // Both would touch the file on its way in or out, were it checked out or added.
            (".gitattributes", "*.yaml filter=evil text eol=lf ident\n"),
            (
                ".gitmodules",
                "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch ran\n",
            ),
            (".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n"),
        ],
    );
    // The remote of a test keeps the bytes: without this it would have taken them in by its attributes.
    git(&remote.clone(), &["config", "core.attributesFile", "/dev/null"]);
    let stored = remote.show("main:deploy/api.yaml");
    let pushed = push(&remote.source()).await.unwrap();
    assert_eq!(
        remote.show(&format!("{}:deploy/api.yaml", pushed.branch)),
        stored.replace("v2", "v1")
    );
    assert!(!mark.exists());
}

#[tokio::test]
async fn names_of_files_that_look_like_options_or_hold_line_ends_are_names() {
    let remote = Remote::new();
    remote.commit(
        "names",
        &[
            ("deploy/--exec=x.yaml", "a: 1\n"),
            ("deploy/two\nlines.yaml", "a: 1\n"),
            ("deploy/tab\tin \"quotes\".yaml", "kind: ConfigMap\n"),
            ("deploy/über.yaml", "a: 1\n"),
        ],
    );
    let pushed = push(&remote.source()).await.unwrap();
    let changed = git(&remote.bare(), &["diff", "--name-only", "main", &pushed.branch]);
    assert_eq!(changed, "deploy/api.yaml\n");
}

#[tokio::test]
async fn a_program_keeps_its_mode_and_a_file_that_is_too_large_is_left_closed() {
    let remote = Remote::new();
    let file = remote.clone().join("deploy/api.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(
        remote.clone().join("deploy/large.yaml"),
        "#".repeat(2 * 1024 * 1024),
    )
    .unwrap();
    std::fs::write(remote.clone().join("image.bin"), vec![7; 2 * 1024 * 1024]).unwrap();
    remote.commit_all("mode");
    // A remote that leaves out what is too large, as the hosted ones do.
    git(&remote.bare(), &["config", "uploadpack.allowFilter", "true"]);
    let pushed = push(&remote.source()).await.unwrap();
    let listed = git(
        &remote.bare(),
        &["ls-tree", "-r", &pushed.branch, "deploy/api.yaml"],
    );
    assert!(listed.starts_with("100755"), "{listed}");
    assert_eq!(push(&remote.source()).await.unwrap().commit, pushed.commit);
    let listed = git(&remote.bare(), &["ls-tree", "-r", "--name-only", &pushed.branch]);
    assert!(listed.contains("deploy/large.yaml"), "{listed}");
}

#[tokio::test]
async fn aliases_that_would_expand_without_end_are_left_as_they_are() {
    let remote = Remote::new();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let last = level - 1;
        bomb +=
            &format!("a{level}: &a{level} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]\n");
    }
    remote.commit("bomb", &[("deploy/bomb.yaml", &bomb)]);
    assert_eq!(push(&remote.source()).await.unwrap().places.len(), 1);
}
