//! A line chart as SVG, readable on light and dark pages: it brings its own background, and follows the reader's choice.
//! Pure text from points; no chart crate, as two axes and some lines are less than its configuration.

use std::fmt::{self, Write};

/// What is drawn. x is logarithmic, and ticked where points are.
pub struct Chart<'a> {
    pub title: &'a str,
    /// Below the title: what is small, what is good.
    pub subtitle: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub y_scale: Scale,
    pub lines: Vec<Line<'a>>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero.
    Linear,
    /// Steps of 1, 2 and 5; for positive values that span decades.
    Logarithmic,
}

/// One server's points, and the label at its end.
pub struct Line<'a> {
    pub name: &'a str,
    pub hue: Hue,
    pub points: Vec<(f64, f64)>,
}

/// A colour by what it stands for, the same in every picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// The one that the pictures are about: drawn thick.
    Ours,
    /// What the others are held against: drawn dashed.
    Reference,
    /// One of the others, by its place among them.
    Other(usize),
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 440.0;
/// The plot's edges; the labels of the lines stand right of it.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 380.0;
/// Labels closer than this would touch.
const LINE_HEIGHT: f64 = 20.0;

/// Colours that stay apart for readers who see fewer of them, with contrast on either background. Classes and
/// currentColor, not variables: viewers that know no more than SVG's own styles show the light form.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:14px;fill:#1f2328}\
.title{font-size:18px;font-weight:600}.own{font-weight:600}.tick{font-size:13px}.soft,.tick{fill:#59636e}\
.card{fill:#ffffff}.grid{stroke:#d9dee3}.axis{stroke:#59636e}\
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.lead{fill:none;stroke:currentColor;opacity:.6}circle{fill:currentColor}\
.ours{color:#0b57d0}.ours .line{stroke-width:3.5}.reference{color:#6e7781}.reference .line{stroke-dasharray:6 5}\
.other0{color:#b45309}.other1{color:#047857}.other2{color:#9333ea}.other3{color:#be123c}\
@media(prefers-color-scheme:dark){\
text{fill:#f0f6fc}.soft,.tick{fill:#9198a1}.card{fill:#0d1117}.grid{stroke:#2b323b}.axis{stroke:#9198a1}\
.ours{color:#6ea8fe}.reference{color:#9198a1}\
.other0{color:#f5a524}.other1{color:#34d399}.other2{color:#c99bff}.other3{color:#ff7b93}}";

impl Chart<'_> {
    /// The picture's text. Points of which a value is no number, or not positive where the scale is logarithmic, are
    /// left out.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing into a String does not fail.
        let _ = self.draw(&mut svg);
        svg
    }

    fn draw(&self, svg: &mut String) -> fmt::Result {
        let (title, subtitle) = (escape(self.title), escape(self.subtitle));
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" class=\"card\"/>\n\
             <text class=\"title\" x=\"24\" y=\"34\">{title}</text>\n\
             <text class=\"soft\" x=\"24\" y=\"56\">{subtitle}</text>"
        )?;
        let plot = Plot::around(self);
        self.draw_axes(svg, &plot)?;
        for line in &self.lines {
            draw_line(svg, &plot, line)?;
        }
        self.draw_labels(svg, &plot)?;
        writeln!(svg, "</svg>")
    }

    fn draw_axes(&self, svg: &mut String, plot: &Plot) -> fmt::Result {
        for tick in plot.y_ticks() {
            let (y, text) = (plot.y(tick), number(tick));
            writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" class=\"grid\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 10.0,
                y + 4.5
            )?;
        }
        for tick in &plot.xs {
            let (x, text) = (plot.x(*tick), number(*tick));
            writeln!(
                svg,
                "<path d=\"M{x:.1} {BOTTOM}v6\" class=\"axis\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                BOTTOM + 22.0
            )?;
        }
        let (x_label, y_label) = (escape(self.x_label), escape(self.y_label));
        let (middle, bottom, height) = ((LEFT + RIGHT) / 2.0, HEIGHT - 14.0, (TOP + BOTTOM) / 2.0);
        writeln!(
            svg,
            "<path d=\"M{LEFT} {BOTTOM}H{RIGHT}\" class=\"axis\"/>\n\
             <text class=\"soft\" x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{x_label}</text>\n\
             <text class=\"soft\" transform=\"translate(22 {height}) rotate(-90)\" text-anchor=\"middle\">{y_label}</text>"
        )
    }

    /// Name and last value at the end of each line, pushed apart where they would touch.
    fn draw_labels(&self, svg: &mut String, plot: &Plot) -> fmt::Result {
        let mut ends: Vec<(f64, &Line)> = Vec::new();
        for line in &self.lines {
            if let Some((_, y)) = plot.points(line).last() {
                ends.push((*y, line));
            }
        }
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        let places = spread(&ends.iter().map(|end| end.0).collect::<Vec<_>>());
        for ((end, line), place) in ends.into_iter().zip(places) {
            let last = line.points.iter().rev().find(|point| plot.shows(**point)).map_or(0.0, |point| point.1);
            let (class, name) = (line.hue.class(), escape(line.name));
            let own = if line.hue == Hue::Ours { " class=\"own\"" } else { "" };
            writeln!(
                svg,
                "<g class=\"{class}\"><path class=\"lead\" d=\"M{:.1} {end:.1}L{:.1} {place:.1}H{:.1}\"/>\
                 <text{own} x=\"{:.1}\" y=\"{:.1}\">{name} <tspan class=\"soft\">{}</tspan></text></g>",
                RIGHT + 6.0,
                RIGHT + 22.0,
                RIGHT + 30.0,
                RIGHT + 36.0,
                place + 4.5,
                number(last)
            )?;
        }
        Ok(())
    }
}

impl Hue {
    fn class(self) -> &'static str {
        match self {
            Hue::Ours => "ours",
            Hue::Reference => "reference",
            Hue::Other(place) => ["other0", "other1", "other2", "other3"][place % 4],
        }
    }
}

fn draw_line(svg: &mut String, plot: &Plot, line: &Line) -> fmt::Result {
    let points = plot.points(line);
    if points.is_empty() {
        return Ok(());
    }
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let (class, name, path) = (line.hue.class(), escape(line.name), path.join("L"));
    write!(svg, "<g class=\"{class}\"><title>{name}</title><path class=\"line\" d=\"M{path}\"/>")?;
    for (x, y) in points {
        write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>")?;
    }
    writeln!(svg, "</g>")
}

/// Where values lie in the picture.
struct Plot {
    /// Every x that a point has, in order.
    xs: Vec<f64>,
    low: f64,
    high: f64,
    scale: Scale,
}

impl Plot {
    fn around(chart: &Chart) -> Self {
        let points = || chart.lines.iter().flat_map(|line| &line.points);
        let mut xs: Vec<f64> = points().map(|point| point.0).filter(|x| *x > 0.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let ys: Vec<f64> = points().map(|point| point.1).filter(|y| y.is_finite()).collect();
        let most = ys.iter().copied().fold(0.0, f64::max);
        let (low, high) = match chart.y_scale {
            Scale::Linear => (0.0, if most > 0.0 { most * 1.05 } else { 1.0 }),
            Scale::Logarithmic => {
                let least = ys.iter().copied().filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
                if least.is_finite() { (least / 1.3, most * 1.3) } else { (0.1, 1.0) }
            }
        };
        Self { xs, low, high, scale: chart.y_scale }
    }

    fn x(&self, value: f64) -> f64 {
        match (self.xs.first(), self.xs.last()) {
            (Some(first), Some(last)) if last > first => {
                LEFT + 16.0 + (value / first).ln() / (last / first).ln() * (RIGHT - LEFT - 32.0)
            }
            _ => (LEFT + RIGHT) / 2.0,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        BOTTOM - share * (BOTTOM - TOP)
    }

    fn shows(&self, (x, y): (f64, f64)) -> bool {
        x > 0.0 && y.is_finite() && (self.scale == Scale::Linear || y > 0.0)
    }

    fn points(&self, line: &Line) -> Vec<(f64, f64)> {
        let shown = line.points.iter().filter(|point| self.shows(**point));
        shown.map(|(x, y)| (self.x(*x), self.y(*y))).collect()
    }

    /// Round values within the axis, about half a dozen.
    fn y_ticks(&self) -> Vec<f64> {
        let decades = (-6..9).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        match self.scale {
            Scale::Logarithmic => decades.filter(|tick| (self.low..=self.high).contains(tick)).collect(),
            Scale::Linear => {
                let step = decades.into_iter().find(|step| self.high / step <= 7.0).unwrap_or(self.high);
                (0..=7).map(|nth| f64::from(nth) * step).filter(|tick| *tick <= self.high).collect()
            }
        }
    }
}

/// Heights in ascending order, pushed apart to a line's height, within the plot.
fn spread(heights: &[f64]) -> Vec<f64> {
    let mut places: Vec<f64> = Vec::with_capacity(heights.len());
    for height in heights {
        let least = places.last().map_or(TOP, |above| above + LINE_HEIGHT);
        places.push(height.max(least));
    }
    let mut most = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LINE_HEIGHT;
    }
    places
}

/// As short as its size allows: three digits, thousands with a comma.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{},{:03}", value as u64 / 1000, value as u64 % 1000),
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => trim(&format!("{value:.1}")),
        value => trim(&format!("{value:.2}")),
    }
}

fn trim(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
