use ntex::web;

#[web::get("/")]
async fn hello() -> &'static str {
    "hello\n"
}

#[ntex::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap();
    web::HttpServer::new(|| web::App::new().service(hello)).workers(1).bind(format!("0.0.0.0:{port}"))?.run().await
}
