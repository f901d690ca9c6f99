//! What makes an object itself: uid, generated name, creation time. The server sets these; clients cannot.

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::Kind;
use crate::object;
use crate::status::{ApiError, FieldError};

/// Letters of generated suffixes: no vowels and no look-alikes, as apimachinery picks them.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const PREFIX_LIMIT: usize = 58;

/// A random (version 4) UUID.
pub(crate) fn new_uid() -> String {
    let mut bytes = [0u8; 16];
    fill_random(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// `prefix` and five random letters, as `generateName` asks for.
pub fn generated_name(prefix: &str) -> String {
    let mut bytes = [0u8; SUFFIX_LENGTH];
    fill_random(&mut bytes);
    let letters = bytes.iter().map(|byte| SUFFIX_LETTERS[*byte as usize % SUFFIX_LETTERS.len()] as char);
    let end = prefix.char_indices().map(|(at, _)| at).chain([prefix.len()]).take_while(|at| *at <= PREFIX_LIMIT).last();
    prefix[..end.unwrap_or(0)].chars().chain(letters).collect()
}

/// A random number below `limit`.
pub(super) fn random_below(limit: u32) -> u32 {
    let mut bytes = [0u8; 8];
    fill_random(&mut bytes);
    u32::try_from(u64::from_le_bytes(bytes) % u64::from(limit.max(1))).unwrap_or(0)
}

fn fill_random(bytes: &mut [u8]) {
    let filled = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty());
    assert_eq!(filled, Ok(bytes.len()), "invariant: getrandom fills small buffers whole");
}

/// Stamps a new object; its name is settled afterwards.
pub(super) fn stamp(object: &mut Value, kind: &Kind, namespace: &str, now: Timestamp) -> Result<(), ApiError> {
    let sent_namespace = object::namespace(object);
    if kind.namespaced && !sent_namespace.is_empty() && sent_namespace != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(message));
    }
    if !object::str_at(object, "/metadata/resourceVersion").is_empty() {
        return Err(ApiError::bare(500, "resourceVersion should not be set on objects to be created"));
    }
    if kind.namespaced {
        object::set(object, &["metadata", "namespace"], namespace.into());
    } else {
        object::remove(object, &["metadata", "namespace"]);
    }
    object::set(object, &["metadata", "uid"], new_uid().into());
    object::set(object, &["metadata", "creationTimestamp"], object::time(now).into());
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object::remove(object, &["metadata", field]);
    }
    if kind.habits.generation {
        object::set(object, &["metadata", "generation"], 1.into());
    }
    Ok(())
}

/// Settles the name: given, or generated and not `taken`.
pub(super) fn settle_name(object: &mut Value, kind: &Kind, taken: impl Fn(&str) -> bool) -> Result<(), ApiError> {
    if !object::name(object).is_empty() {
        return Ok(());
    }
    let prefix = object::str_at(object, "/metadata/generateName").to_string();
    if prefix.is_empty() {
        let errors = [FieldError::required("metadata.name", "name or generateName is required")];
        return Err(ApiError::invalid(kind.group(), &kind.kind, "", &errors));
    }
    let name = (0..8).map(|_| generated_name(&prefix)).find(|name| !taken(name));
    let name = name.ok_or_else(|| ApiError::already_exists(&kind.resource, &prefix))?;
    object::set(object, &["metadata", "name"], name.into());
    Ok(())
}
