use actix_web::{get, App, HttpServer};

#[get("/")]
async fn hello() -> &'static str {
    "hello\n"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap();
    HttpServer::new(|| App::new().service(hello)).workers(1).bind(format!("0.0.0.0:{port}"))?.run().await
}
