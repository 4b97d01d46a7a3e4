//! Keys and certificates for a broker and its clients, signed by an authority that lives as long as the files.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One folder of them.
pub(crate) struct PemFiles {
    pub(crate) authority: PathBuf,
    pub(crate) client: PathBuf,
    /// Signed by somebody whom the broker does not trust.
    pub(crate) stranger: PathBuf,
    pub(crate) server: PathBuf,
    /// What takes the server's place.
    pub(crate) next: PathBuf,
}

impl PemFiles {
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let authority = authority("authority")?;
        let foreign = self::authority("foreign")?;
        let files = Self {
            authority: folder.join("authority.pem"),
            client: folder.join("client.pem"),
            stranger: folder.join("stranger.pem"),
            server: folder.join("server.pem"),
            next: folder.join("next.pem"),
        };
        fs::write(&files.authority, authority.pem())?;
        identity(&authority, "server", &files.server)?;
        identity(&authority, "server", &files.next)?;
        identity(&authority, "client", &files.client)?;
        identity(&foreign, "client", &files.stranger)?;
        Ok(files)
    }

    /// A broker's settings for the server's key.
    pub(crate) fn keystore(&self) -> String {
        format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", self.server.display())
    }

    /// The settings by which broker or client trust whom the authority has signed.
    pub(crate) fn truststore(&self) -> String {
        format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", self.authority.display())
    }
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A key and its certificate in one file that only its owner can read.
fn identity(authority: &CertifiedIssuer<'_, KeyPair>, name: &str, path: &Path) -> anyhow::Result<()> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    fs::write(path, format!("{}{}", key.serialize_pem(), certificate.pem()))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o600))?)
}
