#include "training/trained.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace omp_mlp {

RoundReport report_of(std::span<const Trained> all) {
    RoundReport report;
    double loss_sum = 0.0;
    Index finite = 0;
    for (const Trained& trained : all) {
        report.samples += trained.samples;
        if (std::isfinite(trained.loss_sum)) {
            loss_sum += trained.loss_sum;
            finite += trained.samples;
        }
        report.slowest_replica_seconds = std::max(report.slowest_replica_seconds, trained.cpu_seconds);
        report.mean_replica_seconds += trained.cpu_seconds / static_cast<double>(all.size());
    }
    report.loss =
        finite > 0 ? loss_sum / static_cast<double>(finite) : std::numeric_limits<double>::quiet_NaN();
    return report;
}

}  // namespace omp_mlp
