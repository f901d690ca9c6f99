//! Response times in HdrHistogram's percentile text, which its plotters read. Values are milliseconds.

use crate::histogram::decode;
use crate::stream::Summary;

pub fn percentiles(summary: &Summary) -> String {
    let Ok(histogram) = decode(&summary.response_us) else { return String::new() };
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut counted = 0;
    for value in histogram.iter_quantiles(5) {
        counted += value.count_since_last_iteration();
        let quantile = value.quantile_iterated_to();
        let inverse = match quantile < 1.0 {
            true => format!("{:>14.2}", 1.0 / (1.0 - quantile)),
            false => String::new(),
        };
        let milliseconds = value.value_iterated_to().min(histogram.max()) as f64 / 1e3;
        text.push_str(&format!("{milliseconds:>12.3} {quantile:>14.12} {counted:>10} {inverse}\n"));
    }
    text.push_str(&format!(
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        histogram.max() as f64 / 1e3,
        histogram.len()
    ));
    text.push_str(&format!("#[Buckets = {:>12}, SubBuckets     = {:>12}]\n", histogram.buckets(), 2048));
    text
}
