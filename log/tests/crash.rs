//! Power cuts at every place of a run of the engine: nothing acknowledged is lost, nothing is invented.
//!
//! The run has blocks, markers, rolls, recycled and grown segments, snapshots, trims and promotions. `STELE_CRASH_IMAGES`
//! sets how many images are made of it; the default takes seconds.

mod scene;

use scene::{Driver, Promise, check, images, options, run};
use stele_log::verify_disk;

fn images_wanted() -> u64 {
    std::env::var("STELE_CRASH_IMAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

#[test]
fn after_any_power_cut_what_was_acknowledged_is_there_and_nothing_else() {
    let driver = run(1, 400);
    assert!(driver.promotions > 2 && driver.snapshots > 5, "{} {}", driver.promotions, driver.snapshots);
    let (mut cuts, mut crashes) = (1, driver.disk.crashes());
    while crashes.advance() {
        cuts += u64::from(crashes.undecided() > 0);
    }
    let each = images_wanted() / cuts + 1;
    let count = images(
        driver.disk.crashes(),
        &driver.promises,
        Promise::default(),
        each,
        &mut |image, promise, cut| {
            if let Err(wrong) = check(image, promise) {
                panic!("power cut at call {cut}: {wrong}");
            }
        },
    );
    assert!(count >= images_wanted(), "{count} images");
}

#[test]
fn a_power_cut_while_recovering_from_a_power_cut_loses_nothing() {
    let driver = run(2, 150);
    let mut seen = 0;
    images(driver.disk.crashes(), &driver.promises, Promise::default(), 1, &mut |image, promise, cut| {
        seen += 1;
        if seen % 40 != 0 {
            return;
        }
        let image = image.copy();
        let (mut again, report) = Driver::open(&image, options(), 5).unwrap();
        let recovered = Promise { durable: report.tail.0.max(promise.durable), ..again.promise };
        for _ in 0..3 {
            again.step().unwrap();
        }
        // Until it was reported, what was recovered is owed only as far as it had been acknowledged.
        let before = Promise { appended: promise.appended.max(recovered.durable), ..promise };
        images(again.disk.crashes(), &again.promises, before, 2, &mut |image, promise, second| {
            if let Err(wrong) = check(image, promise) {
                panic!("power cuts at calls {cut} and {second}: {wrong}");
            }
        });
    });
}

#[test]
fn a_clean_run_verifies_clean() {
    let driver = run(3, 300);
    let disk = driver.disk.copy();
    let report = verify_disk(&disk).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tail.0, driver.promise.durable);
}
