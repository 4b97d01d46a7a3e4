//! `keyway doctor`: what a node would expose, told before it does.

use crate::keyway::{Run, command, finish};
use rcgen::{CertificateParams, KeyPair};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

fn doctor(args: &[&str]) -> Run {
    let mut command = command(["doctor", "-o", "json"].into_iter().chain(args.iter().copied()));
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// The findings of one check, as `level: what was found`.
fn found(run: &Run, check: &str) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let findings = run.json().into_iter().filter(|finding| finding["check"] == check);
    findings.map(|one| format!("{}: {}", text(&one["level"]), text(&one["found"]))).collect()
}

fn certificate(path: &Path, mode: u32) {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["db.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(path, key.serialize_pem() + &own.pem()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_node_at_its_defaults_is_this_machines_alone() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let run = doctor(&["--data", folder.path().to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let listeners = found(&run, "listeners");
    assert_eq!(listeners.len(), 4, "{listeners:?}");
    assert!(listeners.iter().all(|line| line.starts_with("ok: ")), "{listeners:?}");
    assert!(found(&run, "disk").iter().any(|line| line.contains("a flush takes")), "{run:?}");
    assert_eq!(found(&run, "limits").len(), 2);
}

#[test]
fn what_others_reach_what_they_read_and_what_ends_is_told() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let (keys, config) = (folder.path().join("keys.pem"), folder.path().join("server.properties"));
    certificate(&keys, 0o600);
    let text = format!(
        "listeners=PLAINTEXT://0.0.0.0:9092,SSL://0.0.0.0:9093\n\
         advertised.listeners=PLAINTEXT://db.example:9092,SSL://other.example:9093\n\
         ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.client.auth=required\n\
         ssl.truststore.type=PEM\nssl.truststore.location={0}\n",
        keys.display()
    );
    fs::write(&config, text).unwrap();
    let args = ["--config", config.to_str().unwrap(), "--data", folder.path().to_str().unwrap()];
    let run = doctor(&args);
    assert_eq!(run.code, Some(1), "{run:?}");
    let listeners = found(&run, "listeners");
    assert!(listeners[0].starts_with("fail: PLAINTEXT on 0.0.0.0:9092"), "{listeners:?}");
    assert!(listeners[1].starts_with("ok: SSL on 0.0.0.0:9093"), "{listeners:?}");
    let certificates = found(&run, "certificates");
    assert!(certificates[0].starts_with("ok: SSL: the certificate holds until"), "{certificates:?}");
    assert!(
        certificates[1].starts_with("warn: ") && certificates[1].contains("db.example"),
        "{certificates:?}"
    );
    assert!(run.stderr.contains("1 check failed"), "{run:?}");

    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    let certificates = found(&doctor(&args), "certificates");
    assert!(
        certificates[0].starts_with("fail: ") && certificates[0].contains("chmod 600"),
        "{certificates:?}"
    );
}

#[test]
fn a_port_that_nobody_could_log_in_to_is_told_with_what_helps() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let config = folder.path().join("server.properties");
    let args = ["--config", config.to_str().unwrap(), "--data", folder.path().to_str().unwrap()];
    let scram = "listener.security.protocol.map=GRPC:SASL_PLAINTEXT,HTTP:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
                 sasl.enabled.mechanisms=SCRAM-SHA-512\n";
    fs::write(&config, scram).unwrap();
    let run = doctor(&args);
    assert_eq!(run.code, Some(1), "{run:?}");
    let logins = found(&run, "logins");
    assert_eq!(logins.len(), 2, "{logins:?}");
    for (line, port) in logins.iter().zip(["GRPC", "HTTP"]) {
        assert!(line.starts_with("fail: ") && line.contains(port), "{line}");
        assert!(line.contains("add PLAIN or OAUTHBEARER to sasl.enabled.mechanisms"), "{line}");
    }
    assert!(run.stderr.contains("2 checks failed"), "{run:?}");

    let both = scram.to_owned() + "listener.name.grpc.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN\n";
    fs::write(&config, both + "listener.name.http.sasl.enabled.mechanisms=PLAIN\n").unwrap();
    let run = doctor(&args);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(found(&run, "logins").iter().all(|line| line.ends_with("clients can log in")), "{run:?}");
}
