//! What can be wrong with an image archive or an image name, each with the words a user sees.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why an image could not be loaded or named.
#[derive(Debug)]
pub enum ImageError {
    /// A file could not be read or written.
    Io { what: String, path: PathBuf, source: io::Error },
    /// The file is neither what `docker save` writes nor an OCI layout.
    NotAnArchive { path: PathBuf, why: String },
    /// The archive contradicts itself: a digest, a count, a missing entry.
    Inconsistent { path: PathBuf, why: String },
    /// The image is for another kind of machine.
    WrongPlatform { path: PathBuf, found: String, needed: String },
    /// A written limit was passed.
    TooLarge { path: PathBuf, why: String },
    /// Not a valid image name.
    BadReference { name: String, why: String },
    /// The store's own index cannot be used.
    BadIndex { path: PathBuf, why: String },
}

impl ImageError {
    /// An `io::Error` with what was tried and on which file.
    pub(crate) fn io(what: &str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ImageError {
        let (what, path) = (what.to_owned(), path.into());
        move |source| ImageError::Io { what, path, source }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Io { what, path, .. } => write!(f, "cannot {what} {}", path.display()),
            ImageError::NotAnArchive { path, why } => {
                let path = path.display();
                write!(f, "{path} is not an image archive: {why}; write one with `docker save -o FILE IMAGE`")
            }
            ImageError::Inconsistent { path, why } => {
                write!(f, "{} is damaged: {why}; build or save the archive again", path.display())
            }
            ImageError::WrongPlatform { path, found, needed } => {
                write!(f, "{} holds an image for {found}, this machine needs {needed}", path.display())
            }
            ImageError::TooLarge { path, why } => write!(f, "{} is too large: {why}", path.display()),
            ImageError::BadReference { name, why } => write!(f, "invalid image name {name:?}: {why}"),
            ImageError::BadIndex { path, why } => {
                write!(
                    f,
                    "the image index {} cannot be used: {why}; remove it and load the images again",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ImageError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
