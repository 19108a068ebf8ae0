fn main() {
    use stillkey_benches::*;
    let peers = peers::all();
    println!("{peers:?}");
    println!("{}", machine::Machine::here());
    machine::pin(1);
    let mut pages = measure::Pages::new(1 << 20);
    for (c, len, start) in [
        (stillkey_core::Cipher::Aes256, 1 << 14, ctr::Start::Page),
        (stillkey_core::Cipher::Aes256, 64, ctr::Start::Byte),
        (stillkey_core::Cipher::Sm4, 1 << 14, ctr::Start::Page),
    ] {
        let w = ctr::CtrWork::new(c, len, start);
        let mut cs = w.contenders(&peers);
        let t = measure::interleaved(&mut cs, &mut pages.bytes()[..len], measure::Effort::QUICK);
        for (c, t) in cs.iter().zip(t) {
            println!("{} {t:.1} ns {:.2} GB/s", c.name(), len as f64 / t);
        }
    }
}
