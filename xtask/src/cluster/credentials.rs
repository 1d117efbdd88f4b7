//! Keys, certificates, tokens and kubeconfigs of one cluster, made new each time. Nothing of them is kept after `down`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use super::Record;
use super::network::Network;
use crate::failure::{Outcome, doing};
use crate::process;

const MASTERS: &str = "system:masters";

/// Who may speak to the API server, in which groups, with which kubeconfig. The parts of the control plane have names
/// of their own, so that the audit log tells them from a person.
const USERS: [(&str, &str, &str); 13] = [
    ("admin@example.test", MASTERS, "kubeconfig"),
    ("second@example.test", MASTERS, "other.kubeconfig"),
    ("limited@example.test", "", "limited.kubeconfig"),
    (
        "system:kube-controller-manager",
        MASTERS,
        "kube-controller-manager.kubeconfig",
    ),
    ("system:kube-scheduler", MASTERS, "kube-scheduler.kubeconfig"),
    ("system:kwok", MASTERS, "kwok.kubeconfig"),
    (
        "system:node:astern-1",
        "system:nodes,system:masters",
        "node.kubeconfig",
    ),
    ("system:coredns", MASTERS, "coredns.kubeconfig"),
    ("system:kube-proxy", MASTERS, "kube-proxy.kubeconfig"),
    ("system:argocd", MASTERS, "argocd.kubeconfig"),
    ("system:flux", MASTERS, "flux.kubeconfig"),
    ("system:argo-rollouts", MASTERS, "argo-rollouts.kubeconfig"),
    ("system:keda", MASTERS, "keda.kubeconfig"),
];

/// A test cluster lives for hours; a forgotten one should not fail on its certificate.
const VALID_DAYS: &str = "30";

/// 128 bits: a token cannot be guessed.
const TOKEN_BYTES: usize = 16;

pub(crate) fn write(record: &Record, network: &Network) -> Outcome {
    certificates(record, network)?;
    let authority = record.path("ca.crt");
    let authority = std::fs::read(&authority).map_err(doing(format!("read {authority}")))?;
    let authority = base64(&authority);
    let mut tokens = String::new();
    for (user, groups, file) in USERS {
        let token = random_token()?;
        // Without groups there must be no fourth column: an empty one is a group without a name.
        let groups = if groups.is_empty() {
            String::new()
        } else {
            format!(",\"{groups}\"")
        };
        tokens += &format!("{token},{user},{user}{groups}\n");
        record.write_file(file, &kubeconfig(record, &authority, user, &token))?;
    }
    record.write_file("tokens.csv", &tokens)?;
    Ok(())
}

/// An authority and a certificate signed by it: strict clients refuse an authority that serves by itself.
fn certificates(record: &Record, network: &Network) -> Outcome {
    record.write_file("openssl.cnf", &openssl_configuration(network))?;
    let openssl = |words: &[&str]| {
        let mut command = Command::new("openssl");
        process::run_logged(
            command.args(words).current_dir(record.folder()),
            &record.log("openssl"),
        )
    };
    let curve = "ec_paramgen_curve:prime256v1";
    let new = [
        "req",
        "-x509",
        "-config",
        "openssl.cnf",
        "-newkey",
        "ec",
        "-pkeyopt",
        curve,
        "-nodes",
    ];
    let files = |key, certificate| ["-days", VALID_DAYS, "-keyout", key, "-out", certificate];
    openssl(
        &[
            &new[..],
            &files("ca.key", "ca.crt"),
            &["-subj", "/CN=astern-test-ca", "-extensions", "authority"],
        ]
        .concat(),
    )?;
    let signed = [
        "-subj",
        "/CN=kube-apiserver",
        "-extensions",
        "server",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
    ];
    openssl(&[&new[..], &files("server.key", "server.crt"), &signed].concat())?;
    // With this the API server asks the kubelet for logs; the group is all that the kubelet's own question is about.
    let asks = [
        "-subj",
        "/O=system:masters/CN=kube-apiserver",
        "-extensions",
        "client",
    ];
    let client = [&asks[..], &["-CA", "ca.crt", "-CAkey", "ca.key"]].concat();
    openssl(
        &[
            &new[..],
            &files("kubelet-client.key", "kubelet-client.crt"),
            &client,
        ]
        .concat(),
    )?;
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "service-account.key",
    ])
}

fn openssl_configuration(network: &Network) -> String {
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .map(|name| format!("DNS:{name}"))
        .join(",");
    let addresses = format!(
        "IP:127.0.0.1,IP:{},IP:{}",
        network.api_address, network.api_service
    );
    format!(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\n\
         [authority]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n\
         subjectKeyIdentifier = hash\n\
         [client]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
         extendedKeyUsage = clientAuth\nauthorityKeyIdentifier = keyid\n\
         [server]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
         extendedKeyUsage = serverAuth\nauthorityKeyIdentifier = keyid\n\
         subjectAltName = DNS:localhost,{names},DNS:kubernetes.default.svc.cluster.local,{addresses}\n"
    )
}

fn kubeconfig(record: &Record, authority: &str, user: &str, token: &str) -> String {
    let name = record.context();
    let server = &record.server;
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
         clusters:\n- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
         users:\n- name: {user}\n  user:\n    token: {token}\n\
         contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {user}\n"
    )
}

pub(super) fn random_token() -> Outcome<String> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; TOKEN_BYTES];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(doing(format!("read {}", source.display())))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// RFC 4648, with padding: how a kubeconfig carries a certificate.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place) & 0x3f) as usize];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let expected = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in expected {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
