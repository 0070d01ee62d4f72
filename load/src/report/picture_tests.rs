use super::*;

fn line(points: &[(f64, f64)]) -> Line<'_> {
    Line { name: "ws <8>", hue: Hue::Other(0), points: points.to_vec() }
}

fn chart(scale: Scale, points: &[(f64, f64)]) -> Chart<'_> {
    Chart { title: "A & B", subtitle: "", x_label: "x", y_label: "y", y_scale: scale, lines: vec![line(points)] }
}

#[test]
fn equal_factors_are_equal_steps_to_the_right() {
    let plot = Plot::around(&chart(Scale::Linear, &[(100.0, 1.0), (1_000.0, 1.0), (10_000.0, 1.0)]));
    let [one, two, three] = [100.0, 1_000.0, 10_000.0].map(|x| plot.x(x));
    assert!((two - one - (three - two)).abs() < 1e-9 && one < two);
}

#[test]
fn a_linear_axis_begins_at_zero_and_holds_the_highest_point() {
    let plot = Plot::around(&chart(Scale::Linear, &[(1.0, 1.8)]));
    assert_eq!(plot.y(0.0), BOTTOM);
    assert!(plot.y(1.8) > TOP && plot.y(1.8) < plot.y(1.0));
    assert_eq!(plot.y_ticks(), [0.0, 0.5, 1.0, 1.5]);
}

#[test]
fn a_logarithmic_axis_is_ticked_at_one_two_and_five() {
    let plot = Plot::around(&chart(Scale::Logarithmic, &[(1.0, 0.9), (2.0, 12.0)]));
    assert_eq!(plot.y_ticks(), [1.0, 2.0, 5.0, 10.0]);
}

#[test]
fn labels_that_would_touch_are_pushed_apart_and_stay_in_the_picture() {
    let places = spread(&[100.0, 101.0, 102.0, BOTTOM - 1.0, BOTTOM]);
    assert!(places.windows(2).all(|two| two[1] - two[0] >= LINE_HEIGHT - 1e-9), "{places:?}");
    assert!(places.iter().all(|place| (TOP..=BOTTOM).contains(place)), "{places:?}");
    assert_eq!(places[0], 100.0);
}

#[test]
fn what_has_no_place_on_the_scale_is_left_out() {
    let svg = chart(Scale::Logarithmic, &[(1.0, 0.0), (2.0, f64::NAN), (4.0, 3.0)]).svg();
    assert_eq!(svg.matches("<circle").count(), 1);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn a_picture_without_points_is_still_a_picture() {
    for scale in [Scale::Linear, Scale::Logarithmic] {
        let svg = chart(scale, &[]).svg();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn names_cannot_break_out_of_their_place() {
    let svg = chart(Scale::Linear, &[(1.0, 1.0)]).svg();
    assert!(svg.contains("A &amp; B") && svg.contains("ws &lt;8>"), "{svg}");
}

#[test]
fn numbers_are_as_short_as_their_size_allows() {
    let said = [0.16, 1.0, 1.5, 12.34, 128.4, 10_000.0].map(number);
    assert_eq!(said, ["0.16", "1", "1.5", "12.3", "128", "10,000"]);
}
