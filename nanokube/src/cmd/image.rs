//! `nanokube image load|ls`: the images of an instance, whether or not it runs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::say;
use crate::cli::Format;
use crate::image::{ImageEntry, ImageStore};
use crate::instance::Directory;

pub(super) fn load(directory: &Directory, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    directory.create()?;
    let store = ImageStore::open(&directory.images())?;
    for file in files {
        for entry in store.load(file)? {
            say(format_args!("loaded {} ({})", entry.names.join(", "), short(&entry.id)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(directory: &Directory, output: Format) -> anyhow::Result<ExitCode> {
    let images: Vec<ImageEntry> = match directory.images().exists() {
        true => ImageStore::open(&directory.images())?.list()?,
        false => Vec::new(),
    };
    if output == Format::Json {
        say(serde_json::to_string_pretty(&images)?);
        return Ok(ExitCode::SUCCESS);
    }
    for image in &images {
        for name in &image.names {
            say(format_args!("{name}  {}  {:.1} MiB", short(&image.id), image.size_bytes as f64 / f64::from(1 << 20)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn short(id: &str) -> &str {
    let digest = id.trim_start_matches("sha256:");
    digest.get(..12).unwrap_or(digest)
}
