//! Who may talk to the API: the bearer of the one token of this instance, compared in constant time, and the service
//! accounts that tokens were issued for.
//!
//! All of them may do everything, but only the former may act as somebody else; RBAC objects are stored and listed, not
//! enforced.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;
use crate::object;
use crate::status::ApiError;

/// The groups of the user that the instance's token stands for.
pub const GROUPS: [&str; 2] = ["system:masters", "system:authenticated"];
/// Who issues tokens and, where nobody says otherwise, whom they are for.
pub(crate) const AUDIENCE: &str = "https://kubernetes.default.svc";
const ADMINISTRATOR: &str = "nanokube-admin";
const ANONYMOUS: &str = "system:anonymous";
const ACCOUNT: &str = "system:serviceaccount:";
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

    /// Who says nothing about himself.
    pub(crate) fn anonymous() -> User {
        User { name: ANONYMOUS.into(), groups: vec!["system:unauthenticated".into()] }
    }

    fn account(namespace: &str, name: &str) -> User {
        let all = "system:serviceaccounts";
        let groups = vec![all.into(), format!("{all}:{namespace}"), GROUPS[1].into()];
        User { name: format!("{ACCOUNT}{namespace}:{name}"), groups }
    }

    /// Who the request is made as, where it says so (`kubectl --as`).
    pub(crate) fn acting(self, headers: &HeaderMap) -> Result<User, ApiError> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let mut groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
        let Some(name) = headers.get("impersonate-user").map(text) else {
            return if groups.is_empty() {
                Ok(self)
            } else {
                Err(ApiError::bad_request("Impersonate-Group needs Impersonate-User"))
            };
        };
        if self != User::administrator() {
            let why = format!(
                "User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                self.name
            );
            return Err(ApiError::forbidden("users", &name, why));
        }
        let account = name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
        Ok(match account.filter(|_| groups.is_empty()) {
            Some((namespace, name)) => User::account(namespace, name),
            None if name == ANONYMOUS => User::anonymous(),
            None => {
                groups.push(GROUPS[1].into());
                User { name, groups }
            }
        })
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

    /// A token that is taken as this service account's by these audiences from one moment to another.
    pub(crate) fn of_account(
        &self,
        account: &Value,
        audiences: &Value,
        (from, until): (Timestamp, Timestamp),
    ) -> String {
        let (namespace, name) = (object::namespace(account), object::name(account));
        self.issue(&json!({
            "aud": audiences,
            "exp": until.as_second(),
            "iat": from.as_second(),
            "iss": AUDIENCE,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": object::uid(account) },
            },
            "nbf": from.as_second(),
            "sub": format!("{ACCOUNT}{namespace}:{name}"),
        }))
    }

    /// A signed JWT with these claims.
    fn issue(&self, claims: &Value) -> String {
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

/// Whose token it is, and for which of these audiences.
pub(crate) fn bearer(token: &Token, cluster: &Cluster, sent: &str, audiences: &[&str]) -> Option<(User, Vec<String>)> {
    let (user, issued_for) = if is_same(&token.0, sent) {
        (User::administrator(), json!([AUDIENCE]))
    } else {
        account(token, cluster, sent)?
    };
    let is_meant = |audience: &&&str| object::array_at(&issued_for, "").iter().any(|issued| issued == **audience);
    let meant: Vec<String> = audiences.iter().filter(is_meant).map(|audience| (*audience).to_owned()).collect();
    (!meant.is_empty()).then_some((user, meant))
}

/// The service account of a token that this server issued, and for whom: the account is still there, and the token has
/// not run out.
fn account(token: &Token, cluster: &Cluster, sent: &str) -> Option<(User, Value)> {
    let claims = token.claims(sent)?;
    let (namespace, about) = (object::str_at(&claims, "/kubernetes.io/namespace"), &claims["kubernetes.io"]);
    let name = object::str_at(about, "/serviceaccount/name");
    let account = cluster.get("serviceaccounts", namespace, name)?;
    let valid = object::uid(&account) == object::str_at(about, "/serviceaccount/uid")
        && claims["exp"].as_i64().is_some_and(|end| cluster.now().as_second() < end);
    valid.then(|| (User::account(namespace, name), claims["aud"].clone()))
}

/// Whose token it is; nobody is 403, a wrong token 401.
pub(crate) fn check(token: &Token, cluster: &Cluster, authorization: &str, path: &str) -> Result<User, ApiError> {
    if authorization.is_empty() {
        let message = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
        return Err(ApiError { details: serde_json::json!({}), ..ApiError::new(403, "Forbidden", message) });
    }
    let sent = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("bearer "));
    let found = bearer(token, cluster, sent.unwrap_or_default().trim(), &[AUDIENCE]);
    found.map(|(user, _)| user).ok_or_else(ApiError::unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Writer;
    use crate::controllers::time::plus_s;

    #[test]
    fn only_the_exact_token_passes() {
        let (token, cluster) = (Token::new("secret".into()), Cluster::in_memory());
        assert_eq!(check(&token, &cluster, "Bearer secret", "/"), Ok(User::administrator()));
        for (sent, code) in [("", 403), ("Bearer secre", 401), ("Bearer secrett", 401), ("Basic c2VjcmV0", 401)] {
            assert_eq!(check(&token, &cluster, sent, "/").unwrap_err().code, code, "{sent}");
        }
    }

    #[test]
    fn an_administrator_may_act_as_somebody_and_nobody_else_may() {
        let acting = |user: User, pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            user.acting(&headers)
        };
        let (bob, dev) = (("impersonate-user", "bob"), ("impersonate-group", "dev"));
        assert_eq!(acting(User::administrator(), &[]), Ok(User::administrator()));
        let groups = vec!["dev".to_owned(), GROUPS[1].to_owned()];
        assert_eq!(acting(User::administrator(), &[bob, dev]), Ok(User { name: "bob".into(), groups }));
        let account = ("impersonate-user", "system:serviceaccount:n:a");
        assert_eq!(acting(User::administrator(), &[account]), Ok(User::account("n", "a")));
        assert_eq!(acting(User::administrator(), &[dev]).unwrap_err().code, 400);
        let refused = acting(User::account("n", "a"), &[bob]).unwrap_err();
        let words = "users \"bob\" is forbidden: User \"system:serviceaccount:n:a\" cannot impersonate resource \"users\" in \
                     API group \"\" at the cluster scope";
        assert_eq!((refused.code, refused.message.as_str()), (403, words));
    }

    #[test]
    fn an_issued_token_is_its_account_until_it_runs_out_or_the_account_goes() {
        let (token, cluster) = (Token::new("secret".into()), Cluster::in_memory());
        let writer = Writer::controller("test");
        cluster.create("namespaces", "", json!({ "metadata": { "name": "n" } }), &writer).unwrap();
        let account = cluster.create("serviceaccounts", "n", json!({ "metadata": { "name": "a" } }), &writer).unwrap();
        let issue = |by: &Token, ends_in_s: i64, account: &Value, audience: &str| {
            let now = cluster.now();
            by.of_account(account, &json!([audience]), (now, plus_s(now, ends_in_s)))
        };
        let user = |bearer: &str| check(&token, &cluster, &format!("Bearer {bearer}"), "/").map(|user| user.name);
        assert_eq!(user(&issue(&token, 60, &account, AUDIENCE)).as_deref(), Ok("system:serviceaccount:n:a"));
        assert!(user(&issue(&Token::new("other".into()), 60, &account, AUDIENCE)).is_err());
        assert!(user(&issue(&token, -1, &account, AUDIENCE)).is_err());
        let mut earlier = Value::clone(&account);
        earlier["metadata"]["uid"] = "of-an-earlier-account".into();
        assert!(user(&issue(&token, 60, &earlier, AUDIENCE)).is_err());
        // For somebody else, who may ask whose it is.
        let elsewhere = issue(&token, 60, &account, "vault");
        assert!(user(&elsewhere).is_err());
        let (found, meant) = bearer(&token, &cluster, &elsewhere, &["vault", AUDIENCE]).unwrap();
        assert_eq!((found, meant), (User::account("n", "a"), vec!["vault".to_owned()]));
    }
}
