use tokio::signal::unix::{signal, SignalKind};
use warp::Filter;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let stopped = async move {
        stop.recv().await;
    };
    let hello = warp::path::end().map(|| "hello\n");
    warp::serve(hello).bind(([0, 0, 0, 0], port)).await.graceful(stopped).run().await;
}
