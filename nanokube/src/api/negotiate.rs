//! What the client wants to see: the object, a Table, its metadata only, or YAML. No Accept header means JSON.
//!
//! The first media range that can be served wins, in the order the client wrote them, as client-go writes them.

use crate::status::ApiError;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    #[default]
    Object,
    Table,
    /// PartialObjectMetadata, alone or in a list.
    Metadata,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
}

/// One range of an Accept header with its parameters.
pub(crate) struct Range<'a> {
    pub(crate) media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    pub(crate) fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value).unwrap_or("")
    }
}

/// Takes an Accept header apart.
pub(crate) fn ranges(accept: &str) -> impl Iterator<Item = Range<'_>> {
    accept.split(',').map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or("");
        Range { media, parameters: parts.filter_map(|part| part.split_once('=')).collect() }
    })
}

/// Chooses the shape of the answer; 406 when nothing that is asked for can be given.
pub(crate) fn wanted(accept: &str) -> Result<Wanted, ApiError> {
    if accept.trim().is_empty() {
        return Ok(Wanted::default());
    }
    ranges(accept).find_map(|range| servable(&range)).ok_or_else(|| {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf";
        ApiError { details: serde_json::json!({}), ..ApiError::new(406, "NotAcceptable", message) }
    })
}

fn servable(range: &Range<'_>) -> Option<Wanted> {
    let yaml = match range.media {
        "application/json" | "application/*" | "*/*" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let shape = match range.parameter("as") {
        "" => Shape::Object,
        _ if range.parameter("g") != "meta.k8s.io" || !matches!(range.parameter("v"), "v1" | "v1beta1") => return None,
        "Table" => Shape::Table,
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Metadata,
        _ => return None,
    };
    Some(Wanted { shape, yaml })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_headers_that_clients_send_get_what_they_ask_for() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
        for (accept, shape) in [
            ("", Shape::Object),
            ("*/*", Shape::Object),
            (table, Shape::Table),
            ("application/vnd.kubernetes.protobuf,application/json", Shape::Object),
            ("application/vnd.kubernetes.protobuf, */*", Shape::Object),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Shape::Metadata),
            ("application/json;stream=watch", Shape::Object),
        ] {
            assert_eq!(wanted(accept).unwrap().shape, shape, "{accept}");
        }
        assert_eq!(wanted("text/html").unwrap_err().code, 406);
        assert!(wanted("application/yaml").unwrap().yaml);
    }
}
