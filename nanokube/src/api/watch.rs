//! WATCH: one JSON object a line, headers at once, events as they come.
//!
//! A stream is pulled by the connection: nothing queues up for a slow client, it merely falls behind in the log, and when the
//! log has moved past it it gets an ERROR event with 410 and the end. Objects that start to match a selector arrive as
//! ADDED, those that stop as DELETED.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::Response;
use http::header::ACCEPT;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::list::{self, Filter};
use super::negotiate::{self, Shape};
use super::request::{Address, Query};
use super::{Api, Body, Call, read, reply};
use crate::cluster::{Change, ChangeKind, Watch};
use crate::kind::{GroupVersion, Kind, convert};
use crate::object::Object;
use crate::status::{ApiError, FieldError};
use crate::table::{IncludeObject, Printer};

/// How long a watch lasts when the client does not say.
const DEFAULT_TIMEOUT_S: i64 = 1_800;
const TIMEOUT_LIMIT_S: i64 = 86_400;
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// A last bookmark comes this long before the end.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Events are gathered into chunks of about this size when many are due.
const CHUNK_BYTES: usize = 64 << 10;

pub(crate) fn answer(
    api: &Arc<Api>,
    call: &Call,
    kind: &Arc<Kind>,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let wanted = negotiate::wanted(call.header(ACCEPT))?;
    let filter = Filter::parse(call, kind, address)?;
    let query = &call.query;
    let initial = initial_events(query)?;
    let timeout_s = query.integer("timeoutSeconds")?.filter(|s| *s > 0).unwrap_or(DEFAULT_TIMEOUT_S);
    let now = Instant::now();
    let encoder = Encoder {
        kind: kind.clone(),
        view: address.version.clone(),
        shape: wanted.shape,
        include: list::include(query),
        printer: list::printer(kind, &address.version),
        header_due: true,
        api: api.clone(),
    };
    let mut stream = Stream {
        filter,
        encoder,
        watch: None,
        due: VecDeque::new(),
        marker: false,
        bookmarks: query.flag("allowWatchBookmarks"),
        bookmark_at: None,
        deadline: now + Duration::from_secs(timeout_s.min(TIMEOUT_LIMIT_S) as u64),
        ended: false,
    };
    stream.plan_bookmark();
    stream.start(api, address, revision(query)?, initial);
    let body = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((io::Result::Ok(chunk), stream))
    });
    Ok(reply::with_type(200, "application/json", reply::streaming(body)))
}

/// `Some(true)`: send the present state first and mark its end; `Some(false)`: do not; None: by resourceVersion.
fn initial_events(query: &Query) -> Result<Option<bool>, ApiError> {
    let (field, matching) = ("resourceVersionMatch", query.get("resourceVersionMatch"));
    let given = query.has("sendInitialEvents");
    let mut errors = Vec::new();
    if given && matching != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(field, why));
    }
    if !given && !matching.is_empty() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(field, why));
    }
    if !matches!(matching, "" | "NotOlderThan") {
        errors.push(FieldError::not_supported(field, matching, &["NotOlderThan"]));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors));
    }
    Ok(given.then(|| query.flag("sendInitialEvents")))
}

fn revision(query: &Query) -> Result<u64, ApiError> {
    match query.get("resourceVersion") {
        "" => Ok(0),
        text => text.parse().map_err(|_| ApiError::bare(500, list::not_a_version(text))),
    }
}

/// The state of one watch between two polls of its connection.
struct Stream {
    filter: Filter,
    encoder: Encoder,
    watch: Option<Watch>,
    due: VecDeque<Due>,
    /// The initial events are to be followed by their end marker.
    marker: bool,
    bookmarks: bool,
    bookmark_at: Option<Instant>,
    deadline: Instant,
    ended: bool,
}

enum Due {
    Initial(Object),
    Change(Arc<Change>),
    Bookmark,
    Error(ApiError),
}

impl Stream {
    fn start(&mut self, api: &Api, address: &Address, revision: u64, initial: Option<bool>) {
        let resource = self.encoder.kind.resource.clone();
        let namespace = address.namespace.as_deref();
        let present = initial.unwrap_or(revision == 0);
        let from = if present {
            let mut listing = api.cluster.list(&resource, namespace);
            listing.items.retain(|object| self.filter.matches(&self.encoder.kind, object));
            self.due.extend(listing.items.into_iter().map(Due::Initial));
            self.marker = initial == Some(true) && self.bookmarks;
            listing.resource_version
        } else if revision == 0 {
            api.cluster.revision()
        } else {
            revision
        };
        match api.cluster.watch(&resource, namespace, from) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => self.due.push_back(Due::Error(error)),
        }
    }

    /// The next chunk to write; None ends the response.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let chunk = self.drain();
            if !chunk.is_empty() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            self.wait().await?;
        }
    }

    /// Encodes what is due, up to a chunk.
    fn drain(&mut self) -> Bytes {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK_BYTES {
            let Some(due) = self.due.pop_front() else { break };
            match due {
                Due::Initial(object) => self.encoder.event(&mut chunk, "ADDED", &object, None),
                Due::Change(change) => self.change(&mut chunk, &change),
                Due::Bookmark => self.bookmark(&mut chunk, false),
                Due::Error(error) => {
                    self.encoder.error(&mut chunk, &error);
                    self.due.clear();
                    self.ended = true;
                }
            }
        }
        if self.marker && self.due.is_empty() && !self.ended {
            self.marker = false;
            self.bookmark(&mut chunk, true);
        }
        chunk.freeze()
    }

    fn change(&mut self, chunk: &mut BytesMut, change: &Change) {
        let kind = &self.encoder.kind;
        let matches = self.filter.matches(kind, &change.object);
        let matched = change.previous.as_ref().is_some_and(|previous| self.filter.matches(kind, previous));
        let event = match (change.kind, matched, matches) {
            (ChangeKind::Deleted, _, true) | (ChangeKind::Deleted, true, _) => "DELETED",
            (ChangeKind::Deleted, ..) | (_, false, false) => return,
            (_, false, true) => "ADDED",
            (_, true, true) => "MODIFIED",
            (_, true, false) => "DELETED",
        };
        self.encoder.event(chunk, event, &change.object, Some(&change.json));
    }

    fn bookmark(&mut self, chunk: &mut BytesMut, initial_end: bool) {
        let Some(watch) = &self.watch else { return };
        self.encoder.bookmark(chunk, watch.position(), initial_end);
    }

    /// The next bookmark: once a minute, and shortly before the end.
    fn plan_bookmark(&mut self) {
        let now = Instant::now();
        let last = self.deadline - LAST_BOOKMARK.min(self.deadline - now);
        let next = (now + BOOKMARK_PERIOD).min(last);
        self.bookmark_at = (self.bookmarks && next > now).then_some(next);
    }

    /// Waits for changes, the next bookmark or the end.
    async fn wait(&mut self) -> Option<()> {
        let watch = self.watch.as_mut()?;
        let bookmark_at = self.bookmark_at.unwrap_or(self.deadline);
        let changes = tokio::select! {
            biased;
            changes = watch.next() => changes,
            () = tokio::time::sleep_until(self.deadline) => {
                self.ended = true;
                return Some(());
            }
            () = tokio::time::sleep_until(bookmark_at), if self.bookmark_at.is_some() => watch.pending(),
        };
        let bookmark_due = self.bookmark_at.is_some_and(|at| at <= Instant::now());
        match changes {
            Ok(changes) => self.due.extend(changes.into_iter().map(Due::Change)),
            Err(error) => self.due.push_back(Due::Error(error)),
        }
        if bookmark_due {
            self.due.push_back(Due::Bookmark);
            self.plan_bookmark();
        }
        Some(())
    }
}

/// Writes events in the shape that the client asked for.
struct Encoder {
    kind: Arc<Kind>,
    view: GroupVersion,
    shape: Shape,
    include: IncludeObject,
    printer: Printer,
    /// Only the first Table of a watch carries the column definitions.
    header_due: bool,
    api: Arc<Api>,
}

impl Encoder {
    /// `json` is the stored text of the object, used where nothing has to be changed in it.
    fn event(&mut self, chunk: &mut BytesMut, event: &str, object: &Value, json: Option<&Bytes>) {
        let plain = self.shape == Shape::Object && self.view == *self.kind.storage_version();
        chunk.put_slice(b"{\"type\":\"");
        chunk.put_slice(event.as_bytes());
        chunk.put_slice(b"\",\"object\":");
        match json {
            Some(json) if plain && !self.kind.is_custom() => chunk.put_slice(json),
            _ => chunk.put_slice(&list::encode(&self.shape_of(object))),
        }
        chunk.put_slice(b"}\n");
    }

    fn shape_of(&mut self, object: &Value) -> Value {
        let kind = self.kind.clone();
        let shown = convert::to_view(&kind, &self.view, object);
        match self.shape {
            Shape::Object => shown.into_owned(),
            Shape::Metadata => read::metadata_only(&shown),
            Shape::Table => self.table(&shown, self.include),
        }
    }

    fn table(&mut self, object: &Value, include: IncludeObject) -> Value {
        let first = std::mem::take(&mut self.header_due);
        self.printer.event(object, include, self.api.cluster.now(), first)
    }

    fn bookmark(&mut self, chunk: &mut BytesMut, revision: u64, initial_end: bool) {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.shape {
            Shape::Object => {
                json!({ "kind": self.kind.kind, "apiVersion": self.view.to_string(), "metadata": metadata })
            }
            Shape::Metadata => read::metadata_only(&json!({ "metadata": metadata })),
            Shape::Table => self.table(&json!({ "metadata": metadata }), IncludeObject::Metadata),
        };
        chunk.put_slice(&list::encode(&json!({ "type": "BOOKMARK", "object": object })));
        chunk.put_u8(b'\n');
    }

    fn error(&self, chunk: &mut BytesMut, error: &ApiError) {
        chunk.put_slice(&list::encode(&json!({ "type": "ERROR", "object": error.to_value() })));
        chunk.put_u8(b'\n');
    }
}
