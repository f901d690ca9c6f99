//! Image names, normalised the way container runtimes do it.
//!
//! `nginx` is `docker.io/library/nginx:latest`, `team/app:1` is `docker.io/team/app:1`, and a first part with a dot, a
//! colon, or the word `localhost` is a registry host and stays as it is. Names are compared only in this form.

use super::ImageError;

/// Longest name accepted, as in the distribution specification plus a tag.
const NAME_LENGTH_MAX: usize = 255 + 1 + 128;

/// Brings an image name to its full form, with a tag unless it names a digest.
pub fn normalize(name: &str) -> Result<String, ImageError> {
    let bad = |why: &str| ImageError::BadReference { name: name.to_owned(), why: why.to_owned() };
    if name.is_empty() {
        return Err(bad("it is empty"));
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(bad("it is longer than 384 characters"));
    }
    let (path, digest) = match name.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        None => (name, None),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (path, None),
    };
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(bad("the tag must be letters, digits, `_`, `.` and `-`, at most 128"));
    }
    let (host, rest) = match path.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
        Some(_) => ("docker.io", path.to_owned()),
        None => ("docker.io", format!("library/{path}")),
    };
    if !rest.split('/').all(is_path_part) {
        return Err(bad("a path part must be lower-case letters and digits, joined by `.`, `_` or `-`"));
    }
    match (digest, tag) {
        (Some(digest), _) if is_digest(digest) => Ok(format!("{host}/{rest}@{digest}")),
        (Some(_), _) => Err(bad("the digest must be `sha256:` and 64 hexadecimal digits")),
        (None, Some(tag)) => Ok(format!("{host}/{rest}:{tag}")),
        (None, None) => Ok(format!("{host}/{rest}:latest")),
    }
}

/// `sha256:` followed by 64 lower-case hexadecimal digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains('.') || part.contains(':')
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= 128
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_path_part(part: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_registry_and_tag_that_runtimes_would_add() {
        let check = |name: &str, full: &str| assert_eq!(normalize(name).expect(name), full);
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.2", "docker.io/library/nginx:1.2");
        check("team/app", "docker.io/team/app:latest");
        check("localhost/app:dev", "localhost/app:dev");
        check("localhost:5000/app", "localhost:5000/app:latest");
        check("registry.example.com/a/b:1", "registry.example.com/a/b:1");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("localhost/app:dev@{digest}"), &format!("localhost/app@{digest}"));
    }

    #[test]
    fn names_that_no_runtime_accepts_are_refused() {
        for name in ["", "Upper", "a//b", "a:", "a: b", "localhost/", "a@sha256:12", "-a", "a:-x", "a/../b"] {
            assert!(normalize(name).is_err(), "{name:?} was accepted");
        }
    }
}
