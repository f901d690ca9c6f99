//! The first look at what a client wrote: types, unknown and duplicate fields, before anything is done with it.
//!
//! `fieldValidation` says what becomes of fields that the kind does not have: refused, warned about, or dropped in silence.

use serde_json::Value;

use super::{FieldValidation, Writer};
use crate::kind::{GroupVersion, Kind};
use crate::object;
use crate::status::{ApiError, FieldError};
use crate::validation;

/// Where the object came from, which decides how a refusal is worded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// The whole body of a request.
    Body(&'a [u8]),
    /// The outcome of a patch.
    Patch(&'a Value),
}

/// Refuses what cannot be decoded, and settles unknown and duplicate fields.
pub(crate) fn check(
    kind: &Kind,
    view: &GroupVersion,
    sent: &Value,
    source: Source<'_>,
    writer: &Writer,
) -> Result<(), ApiError> {
    let api_version = view.to_string();
    let unreadable = |why: &str| {
        let message =
            format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, view.version, kind.kind);
        ApiError::bad_request(message)
    };
    let found = match source {
        Source::Body(body) if is_json(body) => validation::inspect(&api_version, &kind.kind, body),
        _ => validation::inspect(&api_version, &kind.kind, sent.to_string().as_bytes()),
    };
    if let Some(why) = &found.type_error {
        return Err(unreadable(why));
    }
    if writer.field_validation == FieldValidation::Ignore {
        return Ok(());
    }
    let mut mistakes = found.strict;
    if kind.is_custom() {
        mistakes.extend(super::custom::unknown_fields(kind, view, sent));
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    if writer.field_validation == FieldValidation::Warn {
        mistakes.into_iter().for_each(|mistake| writer.warnings.add(mistake));
        return Ok(());
    }
    let why = format!("strict decoding error: {}", mistakes.join(", "));
    match source {
        Source::Body(_) => Err(unreadable(&why)),
        Source::Patch(patch) => {
            let error = FieldError::invalid("patch", patch.to_string(), why);
            Err(ApiError::invalid("", "", object::name(sent), &[error]))
        }
    }
}

fn is_json(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first == b'{')
}
