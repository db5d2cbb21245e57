//! What the worker half of Node's cluster module asks of its primary, and what that answers (`lib/internal/cluster` of
//! Node 20 to 24).

use serde::Deserialize;
use serde_json::{Value, json};

/// What a worker asks. Each call is answered by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterCall {
    /// The number of the call.
    pub number: u64,
    /// What is asked for.
    pub request: Request,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A socket that is bound there, to listen on (`queryServer`).
    Bind {
        /// Where; none: everywhere, with IPv6 if there is any.
        address: Option<String>,
        /// The port, or -1 for what is no address of IP.
        port: i64,
        /// Of which kind.
        kind: Address,
        /// `IPV6_V6ONLY` is asked for.
        v6_only: bool,
        /// How the worker calls it: given back with the answer.
        key: String,
    },
    /// Nothing but to be heard: `online`, `listening`, `close`, `exitedAfterDisconnect`, and what is not known yet.
    Heard,
}

/// The kind of address (`addressType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// A path.
    Pipe,
    /// Datagrams.
    Udp,
}

/// A message of the worker's, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    act: String,
    seq: u64,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default)]
    address_type: Value,
    #[serde(default)]
    flags: Option<i64>,
    #[serde(default)]
    index: Option<i64>,
}

/// `UV_TCP_IPV6ONLY` of libuv.
const V6_ONLY: i64 = 1;

impl ClusterCall {
    pub(super) fn of(value: &Value) -> Option<Self> {
        let raw = Raw::deserialize(value).ok()?;
        let number = raw.seq;
        let request = match raw.act.as_str() {
            "queryServer" => raw.bind(),
            _ => Request::Heard,
        };
        Some(Self { number, request })
    }
}

impl Raw {
    fn bind(self) -> Request {
        let kind = match &self.address_type {
            Value::String(kind) if kind.starts_with("udp") => Address::Udp,
            Value::Number(kind) if kind.as_i64() == Some(-1) => Address::Pipe,
            _ => Address::Tcp,
        };
        let port = self.port.unwrap_or(-1);
        let address = self.address.filter(|address| !address.is_empty());
        let shown = address.as_deref().unwrap_or_default();
        let index = self.index.unwrap_or(0);
        Request::Bind {
            // Any that tells the worker's sockets apart: the worker only gives it back.
            key: format!("{shown}:{port}:{}::{index}", self.address_type),
            address,
            port,
            kind,
            v6_only: self.flags.unwrap_or(0) & V6_ONLY != 0,
        }
    }
}

/// The answer to a call that is only to be heard.
pub fn acknowledged(number: u64) -> Value {
    json!({"cmd": "NODE_CLUSTER", "ack": number})
}

/// The answer to [`Request::Bind`]: with it comes the socket, or the number of the error.
pub fn answered(number: u64, key: &str, outcome: Result<(), i32>) -> Value {
    let answer = |errno: Value| json!({"cmd": "NODE_CLUSTER", "errno": errno, "key": key, "ack": number, "data": null});
    match outcome {
        Ok(()) => json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": answer(Value::Null)}),
        // As libuv has them.
        Err(errno) => answer((-errno).into()),
    }
}

/// The primary's graceful stop: the worker closes its servers, and ends with its last connection.
pub fn disconnect() -> Value {
    json!({"cmd": "NODE_CLUSTER", "act": "disconnect"})
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(text: &str) -> ClusterCall {
        ClusterCall::of(&serde_json::from_str(text).unwrap()).unwrap()
    }

    /// As Node 20.20 sent them.
    #[test]
    fn a_worker_asks_for_a_socket() {
        let asked = call(
            r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":24501,
                "addressType":4,"flags":0,"backlog":false,"seq":1}"#,
        );
        assert_eq!(asked.number, 1);
        let Request::Bind {
            address,
            port,
            kind,
            v6_only,
            key,
        } = asked.request
        else {
            panic!("it asks for no socket");
        };
        assert_eq!((address.as_deref(), port), (Some("127.0.0.1"), 24501));
        assert_eq!((kind, v6_only), (Address::Tcp, false));
        assert_eq!(key, "127.0.0.1:24501:4::0");
        let answer = answered(1, &key, Ok(())).to_string();
        assert!(answer.contains(r#""type":"net.Native""#), "{answer}");
        assert_eq!(answered(1, &key, Err(98))["errno"], -98);
    }

    #[test]
    fn other_kinds_of_address_are_known() {
        let kind = |rest: &str| {
            let text = format!(r#"{{"act":"queryServer","seq":1,{rest}}}"#);
            match call(&text).request {
                Request::Bind {
                    kind,
                    address,
                    v6_only,
                    ..
                } => (kind, address, v6_only),
                Request::Heard => panic!("{text}"),
            }
        };
        let pipe = kind(r#""address":"/tmp/s","port":-1,"addressType":-1"#);
        assert_eq!(pipe, (Address::Pipe, Some("/tmp/s".to_owned()), false));
        assert_eq!(kind(r#""address":null,"port":1,"addressType":4"#).1, None);
        let udp = kind(r#""port":1,"addressType":"udp4""#);
        assert_eq!(udp, (Address::Udp, None, false));
        assert!(kind(r#""address":"::","port":1,"addressType":6,"flags":1"#).2);
    }

    #[test]
    fn what_else_is_said_is_heard() {
        for act in [
            "online",
            "listening",
            "close",
            "exitedAfterDisconnect",
            "new",
        ] {
            let said = call(&format!(r#"{{"act":"{act}","seq":7}}"#));
            assert_eq!(
                said,
                ClusterCall {
                    number: 7,
                    request: Request::Heard
                }
            );
        }
        assert_eq!(acknowledged(7)["ack"], 7);
    }
}
