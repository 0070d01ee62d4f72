//! Which pictures a comparison draws: cost per delivery and memory, against connections and messages in flight.

use crate::report::{
    comparison::{Curve, Point},
    picture::{Chart, Hue, Line, Scale},
};

/// One picture: its file's name, its chart without lines, and whose points it shows.
struct Picture {
    name: &'static str,
    title: &'static str,
    subtitle: &'static str,
    x_label: &'static str,
    y_label: &'static str,
    y_scale: Scale,
    points: fn(&Curve) -> &[Point],
}

const RATIO: &str = "CPU per delivery ÷ floor";
const HELD: &str = "PSS per connection, KiB";
const AT_THE_FLOOR: &str = "CPU per delivery by that of a bare write(2) per socket; lower is cheaper";

const PICTURES: [Picture; 4] = [
    Picture {
        name: "cost-by-connections",
        title: "What a delivery costs as connections grow",
        subtitle: AT_THE_FLOOR,
        x_label: "connections on one topic, one message of 128 B in flight",
        y_label: RATIO,
        y_scale: Scale::Linear,
        points: |curve| &curve.by_sockets,
    },
    Picture {
        name: "cost-by-in-flight",
        title: "What a delivery costs as messages come closer together",
        subtitle: AT_THE_FLOOR,
        x_label: "messages of 128 B in flight, 1,000 connections on one topic",
        y_label: RATIO,
        y_scale: Scale::Logarithmic,
        points: |curve| &curve.by_in_flight,
    },
    Picture {
        name: "memory-by-connections",
        title: "What an idle connection holds",
        subtitle: "User-space memory of the server's process; lower is smaller",
        x_label: "idle connections, one subscription each",
        y_label: HELD,
        y_scale: Scale::Logarithmic,
        points: |curve| &curve.idle,
    },
    Picture {
        name: "memory-by-in-flight",
        title: "What a connection holds behind a burst",
        subtitle: "User-space memory of the server's process; lower is smaller",
        x_label: "messages of 128 B in flight, 1,000 connections on one topic",
        y_label: HELD,
        y_scale: Scale::Logarithmic,
        points: |curve| &curve.held,
    },
];

/// File names without extension, and the pictures. None without curves.
pub fn of(curves: &[Curve]) -> Vec<(&'static str, String)> {
    let pictures = PICTURES.iter().filter(|_| !curves.is_empty());
    pictures.map(|picture| (picture.name, chart(picture, curves).svg())).collect()
}

/// Titles and file names of the pictures that [`of`] draws.
pub fn captions() -> impl Iterator<Item = (&'static str, &'static str)> {
    PICTURES.iter().map(|picture| (picture.title, picture.name))
}

fn chart<'a>(picture: &Picture, curves: &'a [Curve]) -> Chart<'a> {
    let mut lines: Vec<Line> = curves.iter().map(|curve| line(curve, picture.points)).collect();
    // Drawn last and so on top.
    lines.sort_by_key(|line| line.hue == Hue::Ours);
    let Picture { title, subtitle, x_label, y_label, y_scale, .. } = *picture;
    Chart { title, subtitle, x_label, y_label, y_scale, lines }
}

fn line<'a>(curve: &'a Curve, points: fn(&Curve) -> &[Point]) -> Line<'a> {
    let hue = match curve.name {
        "Fanline" => Hue::Ours,
        "floor" => Hue::Reference,
        "Bun" => Hue::Other(0),
        "nchan" => Hue::Other(1),
        "ws" => Hue::Other(2),
        _ => Hue::Other(3),
    };
    let points = points(curve).iter().map(|point| (f64::from(point.x), point.y)).collect();
    Line { name: curve.name, hue, points }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_shows_every_server_by_name() {
        let points = || vec![Point { x: 100, y: 1.0 }, Point { x: 1_000, y: 1.5 }];
        let curve = |name| Curve { name, by_sockets: points(), by_in_flight: points(), idle: points(), held: points() };
        let pictures = of(&[curve("floor"), curve("Fanline"), curve("ws")]);
        assert_eq!(pictures.len(), 4);
        for (name, svg) in pictures {
            assert!(["floor", "Fanline", "ws"].iter().all(|server| svg.contains(&format!(">{server} <"))), "{name}");
            assert_eq!(svg.matches("<circle").count(), 6, "{name}");
        }
        assert!(of(&[]).is_empty());
    }
}
