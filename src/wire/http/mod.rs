//! HTTP/1: heads, where messages end, and passing an exchange on without changing it. No sockets
//! and no clock: bytes go in, bytes come out.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `status` | an answer's status line |
//! | `beginning` | whether bytes are the beginning of a request |
//! | `head` | what a head says, and a head with another `Connection` |
//! | `body` | where a body ends |
//! | `client_lines` | header lines that name the client |
//! | `whole` | whether bytes are one request, all of it |
//! | `pipe` | bytes on their way to one side |
//! | `exchange` | requests of one client, each passed on to a server, and the answers passed back |

mod beginning;
mod body;
mod client_lines;
mod exchange;
mod head;
mod pipe;
mod status;
mod whole;

pub use beginning::{Beginning, beginning};
pub use body::{BadChunk, Body, Framing};
pub use client_lines::{ClientLines, When};
pub use exchange::{Ending, Exchange, Flaw, MAX_HEAD_LEN, Sent};
pub use head::{
    Connection, HeadError, RequestHead, ResponseHead, head_length, is_idempotent, rewrite,
};
pub use status::status;
pub use whole::is_whole;
