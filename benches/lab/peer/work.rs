//! What subjects serve.

use std::fmt;

/// What a subject serves. Only subjects with the same work are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// `app/http.js`, on Node's http server.
    Node,
    /// `tests/fixture/app.py` as WSGI, on gunicorn.
    Wsgi,
    /// The same as ASGI, on uvicorn.
    Asgi,
    /// The same as ASGI, on granian.
    Granian,
    /// Six bytes, from nginx itself.
    Static,
    /// reuseport-demo, which is so small that what is seen is its supervisor.
    Demo,
}

impl Work {
    /// In which subjects are compared, in the order in which they are reported.
    pub const COMPARED: [Self; 5] = [
        Self::Node,
        Self::Wsgi,
        Self::Asgi,
        Self::Granian,
        Self::Static,
    ];
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Wsgi => "gunicorn",
            Self::Asgi => "uvicorn",
            Self::Granian => "granian",
            Self::Static => "nginx",
            Self::Demo => "reuseport-demo",
        })
    }
}
