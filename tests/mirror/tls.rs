//! TLS to PostgreSQL, with libpq's meanings of its modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use booking_manager::mirror::{Fault, Obstacle, SslMode, Target, connect, runtime};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;

use super::cluster::Cluster;
use super::compare::assert_mirrored;
use super::following::crowd;
use super::harness::{Settings, World};

/// An authority, and its certificate in a file.
fn authority(directory: &Path, name: &str) -> (CertifiedIssuer<'static, KeyPair>, PathBuf) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let path = directory.join(format!("{name}.pem"));
    fs::write(&path, issuer.pem()).unwrap();
    (issuer, path)
}

/// A cluster whose certificate names `localhost` and is from `issuer`.
fn protected_cluster(issuer: &CertifiedIssuer<'static, KeyPair>) -> Cluster {
    let mut cluster = Cluster::start();
    cluster.end(Signal::INT);
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, issuer).unwrap();
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = cluster.data().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        cluster.own(&path);
    }
    let configuration = cluster.data().join("postgresql.conf");
    let lines = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, format!("{lines}ssl = on\n")).unwrap();
    cluster.restart();
    cluster
}

/// Whether the connection is protected, if there is one.
fn protected(target: &Target) -> Result<bool, Fault> {
    runtime().unwrap().block_on(async {
        let client = connect(target).await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(client.query_one(sql, &[]).await?.get(0))
    })
}

#[test]
fn each_mode_means_what_it_means_to_libpq() {
    use SslMode::{Disable, Prefer, Require, VerifyCa, VerifyFull};
    let files = tempfile::tempdir().unwrap();
    let (issuer, ours) = authority(files.path(), "ours");
    let (_, other) = authority(files.path(), "other");
    let cluster = protected_cluster(&issuer);
    let target = |host: &str, ssl_mode, root: Option<&PathBuf>| Target {
        host: host.to_owned(),
        port: cluster.port(),
        database: "postgres".to_owned(),
        user: "postgres".to_owned(),
        password: None,
        ssl_mode,
        ssl_root_cert: root.cloned(),
    };
    for (host, mode, root, expected) in [
        ("127.0.0.1", Disable, None, Some(false)),
        ("127.0.0.1", Prefer, None, Some(true)),
        ("127.0.0.1", Require, None, Some(true)),
        ("127.0.0.1", Require, Some(&ours), Some(true)),
        ("127.0.0.1", Require, Some(&other), None),
        ("127.0.0.1", VerifyCa, Some(&ours), Some(true)),
        ("127.0.0.1", VerifyCa, Some(&other), None),
        ("localhost", VerifyFull, Some(&ours), Some(true)),
        ("localhost", VerifyFull, Some(&other), None),
        ("127.0.0.1", VerifyFull, Some(&ours), None),
        // The system trusts other authorities, or none.
        ("localhost", VerifyFull, None, None),
    ] {
        let what = format!("{host} {mode:?} {root:?}");
        match (protected(&target(host, mode, root)), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found, expected, "{what}"),
            (Err(Fault::Obstacle(Obstacle::Tls(_) | Obstacle::Certificates(_))), None) => {}
            (other, expected) => panic!("{what}: {other:?} instead of {expected:?}"),
        }
    }
    let missing = protected(&target("localhost", VerifyFull, Some(&files.path().join("none"))));
    let said = missing.unwrap_err().to_string();
    assert!(said.contains("none") && said.contains("DB_SSL_ROOT_CERT"), "{said}");
    // A socket is not protected, whatever the mode: nobody is in between.
    let socket = target(cluster.directory().to_str().unwrap(), VerifyFull, Some(&ours));
    assert!(!protected(&socket).unwrap());
    // Who requires TLS of a server that has none is told so; who prefers it does without.
    let bare = Cluster::start();
    let bare = |mode| Target { port: bare.port(), ..target("127.0.0.1", mode, None) };
    assert!(!protected(&bare(Prefer)).unwrap());
    let said = protected(&bare(Require)).unwrap_err().to_string();
    assert!(said.contains("TLS"), "{said}");
}

#[test]
fn a_server_mirrors_over_verified_tls() {
    let files = tempfile::tempdir().unwrap();
    let (issuer, ours) = authority(files.path(), "ours");
    let cluster = protected_cluster(&issuer);
    let database = cluster.create();
    let server = Settings::new()
        .env("DB_HOST", "localhost")
        .env("DB_PORT", cluster.port())
        .env("DB_NAME", database.name())
        .env("DB_USER", "postgres")
        .env("DB_SSL_MODE", "verify-full")
        .env("DB_SSL_ROOT_CERT", ours.display())
        .start();
    let world = World::create(&server, 8, 200);
    crowd(&server, &world, Duration::from_millis(500), 1);
    assert_mirrored(&server, &world, &database);
}
