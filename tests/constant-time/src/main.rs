fn main() {
    use stillkey_constant_time::tracker::{watch,Functions};
    let mut a = std::env::args().skip(1);
    let subject = a.next().unwrap();
    let mut c = std::process::Command::new(&subject);
    c.args(a);
    let f = Functions::read(subject.as_ref()).unwrap();
    let o = watch(c).unwrap();
    println!("{} steps, {} marked, status {}", o.steps, o.marked, o.status);
    for (at, leak) in &o.leaks { println!("{leak}: {}", f.place(*at)); }
}
