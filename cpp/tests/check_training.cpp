// Trains small networks without Python, in every way that the core knows: for sanitizers, which then see the core
// alone. Each training runs with one worker and with three, which must give the same bits where that is promised. Two
// ranks, which are threads here, train on while their updates travel. Prints what differs, and exits with the number of
// differences. Arguments are the strategies to train with, where none means all; and "best", for the table of kernels
// that this machine takes by itself, in the place of all that it can run.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/finite.hpp"
#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "network/activation.hpp"
#include "network/network.hpp"
#include "network/predict.hpp"
#include "tests/threads_as_ranks.hpp"
#include "threads/lockstep.hpp"
#include "training/train.hpp"

namespace {

using namespace omp_mlp;

constexpr Index n_samples = 203;  // no multiple of a batch, of replicas or of a vector
constexpr Index n_features = 37;
constexpr Index n_classes = 3;
constexpr Index parts = 5;

// The same numbers in all forms of X: whole numbers from 0 to 255, of which 7 of 10 are 0.
struct Data {
    Data() {
        starts.push_back(0);
        for (Index s = 0; s < n_samples; ++s) {
            for (Index j = 0; j < n_features; ++j) {
                const double u = uniform(7, static_cast<std::uint64_t>(s * n_features + j));
                bytes.push_back(u < 0.3 ? static_cast<std::uint8_t>(u * 850.0) : std::uint8_t{0});
                dense.push_back(static_cast<float>(bytes.back()) / 255.0F);
                if (bytes.back() != 0) {
                    stored.push_back(dense.back());
                    indices.push_back(static_cast<std::int32_t>(j));
                }
            }
            starts.push_back(std::ssize(stored));
            classes.push_back(static_cast<std::int32_t>((s * s) % n_classes));
        }
        for (std::size_t byte = 0; byte < table.of.size(); ++byte) {
            table.of[byte] = static_cast<float>(byte) / 255.0F;
        }
    }

    Samples as(Samples::Kind kind, Block rows = {0, n_samples}) const {
        Samples X{.kind = kind, .rows = rows.size, .columns = n_features};
        const auto first = static_cast<std::size_t>(rows.begin);
        switch (kind) {
            case Samples::Kind::dense_float32:
                X.values = &dense[first * n_features];
                break;
            case Samples::Kind::dense_uint8:
                X.bytes = &bytes[first * n_features];
                X.scale = 1.0F / 255.0F;
                X.byte_value = table.of.data();
                break;
            case Samples::Kind::csr:
                X.values = stored.data();
                X.starts = &starts[first];
                X.indices = indices.data();
                break;
        }
        return X;
    }

    std::vector<std::uint8_t> bytes;
    std::vector<float> dense;
    std::vector<float> stored;
    std::vector<std::int64_t> starts;
    std::vector<std::int32_t> indices;
    std::vector<std::int32_t> classes;
    ByteTable table{};
};

// Options that all cases share; a case changes some.
TrainOptions plain_options() {
    return {
        .strategy = Strategy::replica,
        .threads = parts,
        .workers = 1,
        .epochs = 1,
        .batch = {8, FirstLayer::automatic, false, 0.0},
        .center_inputs = false,
        .warmup_samples = 0,
        .merge = {.every = {16, 16},
                  .method = &merge_method("average"),
                  .method_options = {},
                  .last_method = nullptr,
                  .outer = {1.0, 0.0, false},
                  .momentum_follows_rate = false,
                  .skip_nonfinite = false,
                  .state = StateAtMerge::keep},
        .averaging = {Averaging::none, 1},
        .optimizer = {.method = &optimizer("sgd"),
                      .learning_rate = {0.05, Schedule::constant, 0.5, 1e-4, 0.0, 0},
                      .momentum = 0.9,
                      .beta_1 = 0.9,
                      .beta_2 = 0.999,
                      .rho = 0.99,
                      .epsilon = 1e-8,
                      .weight_decay = 0.0,
                      .l2 = 0.0,
                      .max_norm = std::numeric_limits<double>::infinity(),
                      .accumulates = false,
                      .ntk = false,
                      .gain_rate = 0.0},
        .shuffle = Shuffle::global,
        .init = {InitScale::he, InitScale::glorot, 0.0},
        .shared_start = true,
        .seed = 3,
        .dropout = {},
        .keep_replicas = false,
    };
}

class Checks {
public:
    // Trains with one worker and with three.
    void train_twice(std::string_view name, Samples::Kind kind, const std::vector<Index>& layer_sizes,
                     TrainOptions options) {
        const Samples X = data_.as(kind);
        const Network network{Shape{layer_sizes}, activation_of("relu"), Output::softmax};
        const auto go_on = [](const Progress& /*progress*/) { return false; };
        std::vector<Parameters> found;
        for (const int workers : {1, 3}) {
            options.workers = workers;
            TrainResult result =
                train(network, X, targets_of(0), options, std::nullopt, nullptr, observer());
            found.push_back(std::move(result.master));
        }
        const auto one = found[0].flat();
        const auto three = found[1].flat();
        const bool is_promised = options.strategy != Strategy::hogwild;
        const bool is_right =
            all_finite(one) && all_finite(three) && (!is_promised || std::ranges::equal(one, three));
        count(is_right, name, kind);
        std::vector<float> outputs(static_cast<std::size_t>(n_samples * n_classes));
        Heartbeat heartbeat{go_on};
        predict(network, found[1], X, false, 3, heartbeat, outputs.data());
        count(all_finite(outputs), "predictions of", kind);
    }

    // Ranks whose updates travel while they train on. All get the same bits, with any number of workers.
    void train_on_ranks(std::string_view name, Samples::Kind kind, TrainOptions options,
                        const Ranks& about) {
        std::vector<Parameters> found;
        for (const int workers : {1, 3}) {
            options.workers = workers;
            for (TrainResult& result : results_of_ranks(kind, options, about, 0)) {
                count(!result.interruption && all_finite(result.master.flat()) &&
                          result.rounds == std::ssize(result.history) && result.rounds > 2,
                      name, kind);
                found.push_back(std::move(result.master));
            }
        }
        for (const Parameters& master : found) {
            count(std::ranges::equal(found[0].flat(), master.flat()), name, kind);
        }
    }

    // A rank leaves while its updates travel, which outlive its training. The other one hears of it.
    void leave_while_updates_travel(std::string_view name, Samples::Kind kind, TrainOptions options,
                                    const Ranks& about) {
        constexpr Index third_round = 3;
        options.workers = 3;
        for (const TrainResult& result : results_of_ranks(kind, options, about, third_round)) {
            count(has_left(result) && all_finite(result.master.flat()) && result.rounds < 4, name, kind);
        }
    }

    // A member that does not come holds nobody up: another does its parts. Later, it finds nothing to do.
    void work_with_a_late_member() {
        constexpr Index all = 5;
        constexpr int phases = 3;
        Lockstep lockstep{2, all};
        const auto work = [&](Index number) {
            Lockstep::Member member{lockstep, number};
            std::array<int, all> done{};
            bool goes_on = true;
            for (int phase = 0; phase < phases; ++phase) {
                goes_on = member.run([&](Index part) { ++done.at(static_cast<std::size_t>(part)); });
            }
            member.finish();
            const int wanted = number == 0 ? phases : 0;
            return goes_on && std::ranges::count(done, wanted) == all;
        };
        count(work(0) && work(1), "a late member and", Samples::Kind::dense_float32);
    }

    // A member that falls asleep, since the part of another takes long, is woken for the next phase.
    void work_with_sleepers() {
        constexpr Index members = 3;
        constexpr int phases = 60;
        Lockstep lockstep{members, members};
        std::atomic<int> done = 0;
        const auto work = [&](Index number) {
            Lockstep::Member member{lockstep, number};
            for (int phase = 0; phase < phases; ++phase) {
                member.run([&](Index part) {
                    if (part == phase % members) {
                        std::this_thread::sleep_for(std::chrono::milliseconds{1});
                    }
                    ++done;
                });
            }
            member.finish();
        };
        std::vector<std::thread> threads;
        threads.reserve(members);
        for (Index number = 0; number < members; ++number) {
            threads.emplace_back(work, number);
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        count(done == phases * members, "sleepers and", Samples::Kind::dense_float32);
    }

    int failed() const { return failed_; }
    void print() const { std::printf("%d passed, %d failed\n", checked_ - failed_, failed_); }

private:
    static Observer observer() {
        Observer observer;
        observer.during_round = [](const Progress& /*progress*/) { return false; };
        return observer;
    }

    // From a row on.
    Targets targets_of(Index first) const {
        Targets targets;
        targets.classes = &data_.classes[static_cast<std::size_t>(first)];
        targets.loss.loss = &loss_of("cross_entropy");
        return targets;
    }

    // The second rank leaves in its round `leaves_at`, from 1; 0: it does not.
    std::vector<TrainResult> results_of_ranks(Samples::Kind kind, const TrainOptions& options,
                                              const Ranks& about, Index leaves_at) const {
        constexpr Index size = 2;
        const Network network{Shape{{n_features, 20, n_classes}}, activation_of("relu"),
                              Output::softmax};
        Meeting meeting{size};
        const TrainResult empty{Parameters{network.shape}, 0, {}, {}, {}, {}, {}};
        std::vector<TrainResult> results(size, empty);
        std::vector<std::thread> threads;
        threads.reserve(size);
        for (Index rank = 0; rank < size; ++rank) {
            threads.emplace_back([&, rank] {
                ThreadAsRank communicator{meeting, rank, rank == 1 ? leaves_at : 0};
                const Block rows = block(n_samples, size, rank);
                Ranks ranks = about;
                ranks.communicator = &communicator;
                ranks.replicas_a_rank = options.threads;
                ranks.longest_shard = -(-block(n_samples, size, 0).size / options.threads);
                ranks.first_row = rows.begin;
                results[static_cast<std::size_t>(rank)] =
                    train(network, data_.as(kind, rows), targets_of(rows.begin), options, std::nullopt,
                          nullptr, observer(), &ranks);
                communicator.end();
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        return results;
    }

    static bool has_left(const TrainResult& result) {
        try {
            if (result.interruption) {
                std::rethrow_exception(result.interruption);
            }
        } catch (const RankLeft&) {
            return true;
        }
        return false;
    }

    void count(bool is_right, std::string_view name, Samples::Kind kind) {
        ++checked_;
        if (!is_right) {
            ++failed_;
            std::printf("%s: %.*s X of kind %d\n", kernels().name, static_cast<int>(name.size()),
                        name.data(), static_cast<int>(kind));
        }
    }

    Data data_;
    int checked_ = 0;
    int failed_ = 0;
};

struct Named {
    std::string_view name;
    Strategy strategy;
};

constexpr std::array strategies{Named{"replica", Strategy::replica}, Named{"section", Strategy::section},
                                Named{"synchronous", Strategy::synchronous},
                                Named{"hogwild", Strategy::hogwild}};

void check_strategies(Checks& checks, Samples::Kind kind, std::span<const Named> wanted) {
    for (const auto& [name, strategy] : wanted) {
        for (const std::vector<Index>& hidden : {std::vector<Index>{33}, std::vector<Index>{20, 150}}) {
            for (const Index batch_size : {1, 8, 40}) {
                TrainOptions options = plain_options();
                options.strategy = strategy;
                options.batch.batch_size = batch_size;
                options.merge.every = {2 * batch_size, 4 * batch_size};
                std::vector<Index> sizes{n_features};
                sizes.insert(sizes.end(), hidden.begin(), hidden.end());
                sizes.push_back(n_classes);
                checks.train_twice(name, kind, sizes, options);
                if (strategy != Strategy::hogwild) {
                    options.optimizer.method = &optimizer("adam");
                    options.optimizer.learning_rate.start = 1e-3;
                    options.optimizer.max_norm = 1.0;
                    options.dropout.assign(hidden.size(), 0.25);
                    checks.train_twice(name, kind, sizes, options);
                }
            }
        }
    }
}

// With the defaults of its options.
void set_method(const MergeMethod& method, TrainOptions& options) {
    options.merge.method = &method;
    options.merge.method_options.clear();
    for (const MergeOption& option : method.options) {
        options.merge.method_options.push_back({std::string{option.words.front()}});
    }
}

void check_merges(Checks& checks, Samples::Kind kind) {
    for (const MergeMethod& method : merge_methods()) {
        TrainOptions options = plain_options();
        set_method(method, options);
        const Index length = options.epochs * n_samples;
        if (method.cadence == Cadence::once) {
            options.merge.every = {length, length};
        }
        options.warmup_samples = 24;
        options.optimizer.learning_rate.start = 1e-3;  // a sum of replicas diverges sooner
        options.merge.state = StateAtMerge::average;
        options.keep_replicas = true;
        checks.train_twice(method.name, kind, {n_features, 33, n_classes}, options);
    }
}

void check_ranks(Checks& checks, Samples::Kind kind) {
    Ranks ranks{.communicator = nullptr,
                .replicas_a_rank = 0,
                .longest_shard = 0,
                .first_row = 0,
                .density = 0.3,
                .gathers = false,
                .may_stop = true,
                .merges_a_round = 1,
                .sent_as = SentAs::float32,
                .sent_share = 1.0,
                .overlaps = true};
    TrainOptions options = plain_options();
    options.threads = 2;
    options.shuffle = Shuffle::shards;
    options.epochs = 2;
    options.merge.outer = {1.0, 0.3, false};
    for (const MergeMethod& method : merge_methods()) {
        if (!merges_by_sums(method)) {
            continue;
        }
        set_method(method, options);
        options.optimizer.learning_rate.start = 1e-3;  // a sum of replicas diverges sooner
        ranks.merges_a_round = 1;
        ranks.sent_as = SentAs::float32;
        checks.train_on_ranks(method.name, kind, options, ranks);
        checks.leave_while_updates_travel(method.name, kind, options, ranks);
        ranks.merges_a_round = 2;
        ranks.sent_as = SentAs::bfloat16;
        checks.train_on_ranks(method.name, kind, options, ranks);
        ranks.sent_as = SentAs::largest;
        ranks.sent_share = 0.1;
        checks.train_on_ranks(method.name, kind, options, ranks);
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<Named> wanted;
    const std::span<const Kernels* const> all = available_kernels();
    std::vector<const Kernels*> tables{all.begin(), all.end()};
    for (const std::string_view name : std::span{argv, static_cast<std::size_t>(argc)}.subspan(1)) {
        const auto* const named = std::ranges::find(strategies, name, &Named::name);
        if (named != strategies.end()) {
            wanted.push_back(*named);
        } else if (name == "best") {
            tables = {&kernels()};
        } else {
            std::printf(
                "arguments must be strategies (replica, section, synchronous, hogwild) or best\n");
            return 1;
        }
    }
    if (wanted.empty()) {
        wanted.assign(strategies.begin(), strategies.end());
    }
    Checks checks;
    checks.work_with_a_late_member();
    checks.work_with_sleepers();
    for (const Kernels* table : tables) {
        select_kernels(table->name);
        for (const auto kind :
             {Samples::Kind::dense_float32, Samples::Kind::dense_uint8, Samples::Kind::csr}) {
            check_strategies(checks, kind, wanted);
            check_merges(checks, kind);
            check_ranks(checks, kind);
        }
        std::printf("%s checked\n", table->name);
    }
    checks.print();
    return std::min(checks.failed(), 100);
}
