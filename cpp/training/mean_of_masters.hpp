// The mean of the masters of a training, which is returned in the place of the last one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/block.hpp"
#include "base/for_each.hpp"
#include "network/parameters.hpp"
#include "training/state.hpp"

namespace omp_mlp {

// lawa: the mean of the last `span` masters (Kaddour 2022). ema: an exponential mean, in which a new master
// weighs 2 / (span + 1), so that the masters in it are as old on the mean as those in the other.
enum class Averaging { none, lawa, ema };

struct AveragingOptions {
    Averaging kind;
    Index span;  // masters
};

class MeanOfMasters {
public:
    explicit MeanOfMasters(const AveragingOptions& options) : options_{options} {}

    bool is_wanted() const { return options_.kind != Averaging::none; }
    bool is_empty() const { return count_ == 0; }

    // The next master. What it costs is divided among the workers.
    void add(const Parameters& master, const ForEach& for_each) {
        if (options_.kind == Averaging::lawa) {
            keep(master, for_each);
        } else {
            follow(master, for_each);
        }
        ++count_;
    }

    // The training has gone back. The mean begins with the next master.
    void begin_anew() { count_ = 0; }

    // `size`: of the flat parameters.
    void exchange_state(StateExchange& exchange, Index size) {
        exchange("mean.masters", count_);
        Index kept = std::ssize(last_);
        exchange("mean.kept", kept);
        if (count_ != 0 && !is_wanted()) {
            refuse_state("mean.masters", "must be 0 without averaging");
        }
        const bool is_lawa = options_.kind == Averaging::lawa;
        const Index needed = is_lawa ? std::min(count_, options_.span) : 0;
        if (count_ < 0 || kept < needed || kept > (is_lawa ? options_.span : 0)) {
            refuse_state("mean.kept", "must be masters of its training");
        }
        for (Index i = 0; i < kept; ++i) {
            if (i == std::ssize(last_)) {  // one after another: the state may have fewer than it says
                last_.emplace_back(static_cast<std::size_t>(size));
            }
            Buffer& master = last_[static_cast<std::size_t>(i)];
            exchange(("mean.last." + std::to_string(i)).c_str(), std::span{master});
        }
        exchange("mean.exponential", exponential_);
        const bool has_mean = options_.kind == Averaging::ema && count_ > 0;
        if (std::ssize(exponential_) != size && (has_mean || !exponential_.empty())) {
            refuse_state("mean.exponential", "must have a number of each parameter");
        }
    }

    // Writes the mean, rounded once. There has to be a master.
    void write(Parameters& mean, const ForEach& for_each) const {
        const Index kept = std::min(count_, options_.span);
        const auto mean_of = [&](std::size_t k) {
            if (options_.kind == Averaging::ema) {
                return exponential_[k];
            }
            double sum = 0.0;
            for (Index age = kept; age > 0; --age) {  // from the oldest on
                sum += static_cast<double>(last_[place(count_ - age)][k]);
            }
            return sum / static_cast<double>(kept);
        };
        const auto flat = mean.flat();
        for_each(pieces, [&](Index i) {
            const Block part = block(std::ssize(flat), pieces, i);
            for (Index k = part.begin; k < part.begin + part.size; ++k) {
                flat[static_cast<std::size_t>(k)] =
                    static_cast<float>(mean_of(static_cast<std::size_t>(k)));
            }
        });
    }

private:
    static constexpr Index pieces = 64;

    std::size_t place(Index number) const { return static_cast<std::size_t>(number % options_.span); }

    void keep(const Parameters& master, const ForEach& for_each) {
        const auto flat = master.flat();
        if (std::ssize(last_) <= std::min(count_, options_.span - 1)) {
            last_.emplace_back(flat.size());
        }
        Buffer& kept = last_[place(count_)];
        for_each(pieces, [&](Index i) {
            const Block part = block(std::ssize(flat), pieces, i);
            std::copy_n(flat.data() + part.begin, part.size, kept.data() + part.begin);
        });
    }

    void follow(const Parameters& master, const ForEach& for_each) {
        const auto flat = master.flat();
        exponential_.resize(flat.size());
        // The first one is copied: what stood there before may be infinite.
        const bool is_first = count_ == 0;
        const double weight = 2.0 / (static_cast<double>(options_.span) + 1.0);
        for_each(pieces, [&](Index i) {
            const Block part = block(std::ssize(flat), pieces, i);
            for (Index k = part.begin; k < part.begin + part.size; ++k) {
                double& mean = exponential_[static_cast<std::size_t>(k)];
                const auto next = static_cast<double>(flat[static_cast<std::size_t>(k)]);
                mean = is_first ? next : mean + weight * (next - mean);
            }
        });
    }

    AveragingOptions options_;
    Index count_ = 0;           // masters, since the mean began
    std::vector<Buffer> last_;  // of lawa: the last ones, by their number modulo the span
    std::vector<double> exponential_;
};

}  // namespace omp_mlp
