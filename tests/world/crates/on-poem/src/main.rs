use poem::{get, handler, listener::TcpListener, Route, Server};
use tokio::signal::unix::{signal, SignalKind};

#[handler]
fn hello() -> &'static str {
    "hello\n"
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::var("PORT").unwrap();
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let stopped = async move {
        stop.recv().await;
    };
    let server = Server::new(TcpListener::bind(format!("0.0.0.0:{port}")));
    server.run_with_graceful_shutdown(Route::new().at("/", get(hello)), stopped, None).await.unwrap();
}
