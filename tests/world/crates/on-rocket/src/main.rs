#[rocket::get("/")]
fn hello() -> &'static str {
    "hello\n"
}

#[rocket::launch]
fn rocket() -> _ {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let figment = rocket::Config::figment()
        .merge(("port", port))
        .merge(("address", "0.0.0.0"))
        .merge(("workers", 1))
        .merge(("log_level", "off"));
    rocket::custom(figment).mount("/", rocket::routes![hello])
}
