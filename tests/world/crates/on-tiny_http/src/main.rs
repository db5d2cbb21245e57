//! Dies at once at TERM.
fn main() {
    let port = std::env::var("PORT").unwrap();
    let server = tiny_http::Server::http(format!("0.0.0.0:{port}")).unwrap();
    for request in server.incoming_requests() {
        let _ = request.respond(tiny_http::Response::from_string("hello\n"));
    }
}
