use salvo::prelude::*;
use tokio::signal::unix::{signal, SignalKind};

#[handler]
async fn hello() -> &'static str {
    "hello\n"
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::var("PORT").unwrap();
    let acceptor = TcpListener::new(format!("0.0.0.0:{port}")).bind().await;
    let server = Server::new(acceptor);
    let handle = server.handle();
    let mut stop = signal(SignalKind::terminate()).unwrap();
    tokio::spawn(async move {
        stop.recv().await;
        handle.stop_graceful(None);
    });
    server.serve(Router::new().get(hello)).await;
}
