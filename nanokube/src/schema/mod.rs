//! The types of the API: fields, numbers, merge keys and list kinds, from a table generated from Kubernetes' Go types.
//!
//! One table serves four readers: protobuf bodies (numbers), strict decoding (names and types), OpenAPI documents
//! (all of it), and the two merges (strategic: patch keys; apply: list kinds and keys). It is compressed in the binary
//! and parsed on first use.
