use super::*;

fn row(name: &'static str, ratio: f64, lost: u64) -> Row {
    let cost = |lost| Cost {
        pairs: 3,
        ratio: Estimate { median: ratio, low: 1.0, high: 2.0, min: 0.5, max: 3.0 },
        floor_us: 2.0,
        faults: Faults { delivered: 900, lost, ..Faults::default() },
    };
    let (version, command, note) = ("8".into(), String::new(), String::new());
    Row { name, version, command, note, one: cost(0), eight: cost(lost), pss_kib: 12.34 }
}

#[test]
fn a_server_that_lost_messages_is_shown_with_its_loss() {
    let cells = ["ws", "1.50 × (1.00-2.00)", "1.50 × (1.00-2.00)", "12.3 KiB", "none", "8", ""];
    assert_eq!(row("ws", 1.5, 0).cells(None), cells);
    assert_eq!(row("ws", 1.5, 200).cells(None)[4], "200 lost of 2000");
}

fn comparison(floor: f64) -> Comparison {
    let rows = vec![row("floor", floor, 0), row("ws", 1.5, 0)];
    let (again, machine) = (rows[0].costs(), Machine::look(None));
    let plan = Plan::of(1, std::time::Duration::from_secs(1), 1);
    let points = || vec![Point { x: 100, y: 1.0 }, Point { x: 1_000, y: 1.5 }];
    let curve = Curve { name: "ws", by_sockets: points(), by_in_flight: points(), idle: points(), held: points() };
    let (noise, absent, curves) = (noise(again, None), Vec::new(), vec![curve]);
    Comparison { machine, plan, connections: 1, noise, rows, again, absent, growth: true, curves }
}

#[test]
fn a_floor_that_does_not_meet_itself_is_said_on_every_row_and_below_the_table() {
    let nowhere = Path::new("nowhere");
    let said = |text: &str| text.matches("noisy machine: floor against floor 1.03 × and 1.03 ×").count();
    let noisy = comparison(1.03);
    assert_eq!((said(&noisy.table()), said(&noisy.section(nowhere).unwrap())), (2, 3));
    let (quiet, nothing) = (comparison(0.985), "noisy");
    assert!(!quiet.table().contains(nothing) && !quiet.section(nowhere).unwrap().contains(nothing));
}

#[test]
fn a_floor_that_meets_itself_before_all_others_and_not_behind_them_is_noise_too() {
    let [level, off] = [0.99, 1.03].map(|floor| row("floor", floor, 0).costs());
    assert_eq!((noise(level, None), noise(level, Some(level))), (None, None));
    let said = "noisy machine: floor against floor at the end 1.03 × and 1.03 ×";
    assert_eq!(noise(level, Some(off)).as_deref(), Some(said));
    assert!(noise(off, Some(level)).is_some());
}

#[test]
fn a_noisy_machine_draws_no_pictures_and_keeps_the_former() {
    let out = tempfile::tempdir().unwrap();
    let picture = out.path().join("pictures/cost-by-connections.svg");
    let written = |floor| {
        comparison(floor).write(out.path()).unwrap();
        fs::read_to_string(out.path().join("RESULTS.md")).unwrap()
    };
    assert!(!written(1.03).contains("pictures/") && !picture.exists());
    fs::write(&picture, "former").unwrap();
    let results = written(1.03);
    assert!(
        results.contains("(pictures/cost-by-connections.svg)") && results.contains("an earlier run's"),
        "{results}"
    );
    assert_eq!(fs::read_to_string(&picture).unwrap(), "former");
    assert!(!written(1.0).contains("an earlier run's") && fs::read_to_string(&picture).unwrap().contains("<svg"));
}
