//! Who may talk to the API: the bearer of the one token of this instance, compared in constant time, and the service
//! accounts that tokens were issued for.
//!
//! All of them may do everything; RBAC objects are stored and listed, not enforced.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;
use crate::object;
use crate::status::ApiError;

/// The groups of the user that the instance's token stands for.
pub const GROUPS: [&str; 2] = ["system:masters", "system:authenticated"];
const ADMINISTRATOR: &str = "nanokube-admin";
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Whom a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

impl User {
    pub(crate) fn administrator() -> User {
        User { name: ADMINISTRATOR.into(), groups: GROUPS.map(Into::into).to_vec() }
    }

    fn account(namespace: &str, name: &str) -> User {
        let all = "system:serviceaccounts";
        let groups = vec![all.into(), format!("{all}:{namespace}"), GROUPS[1].into()];
        User { name: format!("system:serviceaccount:{namespace}:{name}"), groups }
    }

    /// Who the request is made as, where it says so (`kubectl --as`).
    pub(crate) fn acting(self, headers: &HeaderMap) -> User {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let Some(name) = headers.get("impersonate-user").map(text) else { return self };
        let groups = headers.get_all("impersonate-group").iter().map(text);
        User { name, groups: groups.chain([GROUPS[1].into()]).collect() }
    }

    /// As reviews show it.
    pub(crate) fn to_value(&self) -> Value {
        json!({ "username": self.name, "groups": self.groups })
    }
}

/// The secret of an instance. Never printed by Debug.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub fn new(secret: String) -> Token {
        Token(secret)
    }

    /// A signed JWT with these claims.
    pub(crate) fn issue(&self, claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(claims));
        format!("{signed}.{}", self.signature(&signed))
    }

    /// The claims of a token that this server issued.
    fn claims(&self, sent: &str) -> Option<Value> {
        let (signed, signature) = sent.rsplit_once('.')?;
        if !is_same(&self.signature(signed), signature) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?).ok()
    }

    /// HMAC-SHA-256 under the secret.
    fn signature(&self, text: &str) -> String {
        let mut key = [0u8; BLOCK];
        key[..32].copy_from_slice(&Sha256::digest(&self.0));
        let round =
            |pad: u8, text: &[u8]| Sha256::new().chain_update(key.map(|byte| byte ^ pad)).chain_update(text).finalize();
        URL_SAFE_NO_PAD.encode(round(0x5c, &round(0x36, text.as_bytes())))
    }
}

/// Takes as long for a near miss as for a far one.
fn is_same(wanted: &str, sent: &str) -> bool {
    let (wanted, sent) = (wanted.as_bytes(), sent.as_bytes());
    let differing =
        wanted.iter().enumerate().fold(0u8, |sum, (at, byte)| sum | (byte ^ sent.get(at).unwrap_or(&!byte)));
    std::hint::black_box(differing) == 0 && wanted.len() == sent.len() && !wanted.is_empty()
}

/// The service account of a token that this server issued: it is still there, and the token has not run out.
pub(crate) fn account(token: &Token, cluster: &Cluster, sent: &str) -> Option<User> {
    let claims = token.claims(sent)?;
    let (namespace, about) = (object::str_at(&claims, "/kubernetes.io/namespace"), &claims["kubernetes.io"]);
    let name = object::str_at(about, "/serviceaccount/name");
    let account = cluster.get("serviceaccounts", namespace, name)?;
    let valid = object::uid(&account) == object::str_at(about, "/serviceaccount/uid")
        && claims["exp"].as_i64().is_some_and(|end| cluster.now().as_second() < end);
    valid.then(|| User::account(namespace, name))
}

/// Whose token it is; nobody is 403, a wrong token 401.
pub(crate) fn check(token: &Token, cluster: &Cluster, authorization: &str, path: &str) -> Result<User, ApiError> {
    if authorization.is_empty() {
        let message = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
        return Err(ApiError { details: serde_json::json!({}), ..ApiError::new(403, "Forbidden", message) });
    }
    let sent = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("bearer "));
    let sent = sent.unwrap_or_default().trim();
    if is_same(&token.0, sent) {
        return Ok(User::administrator());
    }
    account(token, cluster, sent).ok_or_else(ApiError::unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Writer;

    #[test]
    fn only_the_exact_token_passes() {
        let (token, cluster) = (Token::new("secret".into()), Cluster::in_memory());
        assert_eq!(check(&token, &cluster, "Bearer secret", "/"), Ok(User::administrator()));
        for (sent, code) in [("", 403), ("Bearer secre", 401), ("Bearer secrett", 401), ("Basic c2VjcmV0", 401)] {
            assert_eq!(check(&token, &cluster, sent, "/").unwrap_err().code, code, "{sent}");
        }
    }

    #[test]
    fn an_administrator_may_act_as_somebody() {
        let mut headers = HeaderMap::new();
        assert_eq!(User::administrator().acting(&headers), User::administrator());
        headers.insert("impersonate-user", HeaderValue::from_static("bob"));
        headers.append("impersonate-group", HeaderValue::from_static("dev"));
        let bob = User::administrator().acting(&headers);
        assert_eq!((bob.name.as_str(), bob.groups), ("bob", vec!["dev".to_owned(), GROUPS[1].to_owned()]));
    }

    #[test]
    fn an_issued_token_is_its_account_until_it_runs_out_or_the_account_goes() {
        let (token, cluster) = (Token::new("secret".into()), Cluster::in_memory());
        let writer = Writer::controller("test");
        cluster.create("namespaces", "", json!({ "metadata": { "name": "n" } }), &writer).unwrap();
        let account = cluster.create("serviceaccounts", "n", json!({ "metadata": { "name": "a" } }), &writer).unwrap();
        let claims = |ends_in_s: i64, uid: &str| {
            json!({ "exp": cluster.now().as_second() + ends_in_s,
                "kubernetes.io": { "namespace": "n", "serviceaccount": { "name": "a", "uid": uid } } })
        };
        let user = |bearer: &str| check(&token, &cluster, &format!("Bearer {bearer}"), "/").map(|user| user.name);
        let valid = claims(60, object::uid(&account));
        assert_eq!(user(&token.issue(&valid)).as_deref(), Ok("system:serviceaccount:n:a"));
        assert!(user(&Token::new("other".into()).issue(&valid)).is_err());
        assert!(user(&token.issue(&claims(-1, object::uid(&account)))).is_err());
        assert!(user(&token.issue(&claims(60, "of-an-earlier-account"))).is_err());
    }
}
