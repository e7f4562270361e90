// The module omp_mlp._core: NumPy arrays become spans, strings become enums, the GIL is released once.
// Arguments are keyword-only and were checked in Python; nothing here has a default or copies silently
// (`noconvert`: an array of another type or layout is refused).
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/examine.hpp"
#include "data/pixels.hpp"
#include "kernels/dispatch.hpp"
#include "merging/cost.hpp"
#include "merging/merger.hpp"
#include "network/predict.hpp"
#include "threads/team.hpp"
#include "training/one_network.hpp"
#include "training/train.hpp"

namespace py = pybind11;
using namespace py::literals;
using namespace omp_mlp;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// ---- Names ------------------------------------------------------------------------------------------

template <typename Enum, std::size_t n>
Enum named(const std::array<std::pair<const char*, Enum>, n>& names, const std::string& name) {
    for (const auto& [known, value] : names) {
        if (name == known) {
            return value;
        }
    }
    throw py::value_error{"unknown name '" + name + "'"};
}

constexpr std::array activations{
    std::pair{"relu", Activation::relu}, std::pair{"tanh", Activation::tanh},
    std::pair{"logistic", Activation::logistic}, std::pair{"identity", Activation::identity}};
constexpr std::array output_functions{std::pair{"softmax", Output::softmax},
                                      std::pair{"identity", Output::identity},
                                      std::pair{"logistic", Output::logistic}};
constexpr std::array shuffles{std::pair{"none", Shuffle::none}, std::pair{"shards", Shuffle::shards},
                              std::pair{"global", Shuffle::global}};
constexpr std::array schedules{std::pair{"constant", Schedule::constant},
                               std::pair{"linear", Schedule::linear}};
constexpr std::array first_layers{std::pair{"auto", FirstLayer::automatic},
                                  std::pair{"sparse", FirstLayer::sparse},
                                  std::pair{"dense", FirstLayer::dense}};
constexpr std::array strategies{
    std::pair{"replica", Strategy::replica}, std::pair{"section", Strategy::section},
    std::pair{"synchronous", Strategy::synchronous}, std::pair{"hogwild", Strategy::hogwild}};
constexpr std::array init_rules{std::pair{"fixed", InitScale::fixed},
                                std::pair{"glorot", InitScale::glorot}, std::pair{"he", InitScale::he}};

// ---- Arrays -----------------------------------------------------------------------------------------

std::span<const float> view(const Array<float>& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

Array<float> packed(const Shape& shape, const Parameters& parameters) {
    Array<float> array(shape.packed_size());
    pack(shape, parameters, {array.mutable_data(), static_cast<std::size_t>(array.size())});
    return array;
}

// X, and the arrays that it points into.
struct PySamples {
    Samples samples;
    py::object owner;
    std::shared_ptr<const ByteTable> byte_values = nullptr;
    std::shared_ptr<const Pixels> pixels = nullptr;

    static PySamples dense_float32(const Array<float>& X) {
        return {{.kind = Samples::Kind::dense_float32,
                 .rows = X.shape(0),
                 .columns = X.shape(1),
                 .values = X.data()},
                X};
    }
    static PySamples dense_uint8(const Array<std::uint8_t>& X, float scale) {
        const auto values = std::make_shared<ByteTable>();
        for (std::size_t byte = 0; byte < values->of.size(); ++byte) {
            values->of[byte] = scale * static_cast<float>(byte);
        }
        return {{.kind = Samples::Kind::dense_uint8,
                 .rows = X.shape(0),
                 .columns = X.shape(1),
                 .bytes = X.data(),
                 .scale = scale,
                 .byte_value = values->of.data()},
                X,
                values};
    }
    static PySamples csr(const Array<std::int64_t>& starts, const Array<std::int32_t>& indices,
                         const Array<float>& values, Index rows, Index columns) {
        // Whether the starts ascend and the indices are columns was checked in Python.
        if (starts.size() != rows + 1 || indices.size() != values.size() || starts.at(0) != 0 ||
            starts.at(rows) > values.size()) {
            throw py::value_error{"CSR of " + std::to_string(rows) + " rows must have " +
                                  std::to_string(rows + 1) + " starts, from 0 to at most " +
                                  std::to_string(values.size()) + " values, and as many indices; got " +
                                  std::to_string(starts.size()) + " starts and " +
                                  std::to_string(indices.size()) + " indices"};
        }
        return {{.kind = Samples::Kind::csr,
                 .rows = rows,
                 .columns = columns,
                 .values = values.data(),
                 .starts = starts.data(),
                 .indices = indices.data()},
                py::make_tuple(starts, indices, values)};
    }

    // The share of nonzeros, if the first layer reads lists of them, or None if it reads a matrix.
    std::optional<double> list_density(const std::string& first_layer) const {
        const py::gil_scoped_release release;
        const bool matrix = choose_reading(named(first_layers, first_layer), samples) == Reading::dense;
        return matrix ? std::nullopt : std::optional{density(samples)};
    }

    // Keeps X as bytes for training as well, if that is possible; X is finite then.
    bool keep_pixels(int workers) {
        const py::gil_scoped_release release;
        if (auto found = Pixels::of(kernels(), samples, workers)) {
            pixels = std::make_shared<const Pixels>(std::move(*found));
        }
        return pixels != nullptr;
    }

    // What replicas that read the first layer's inputs in this way train on.
    Samples for_replicas(FirstLayer first_layer) const {
        return pixels && first_layer != FirstLayer::dense ? pixels->samples() : samples;
    }

    // Where X is not finite first, as (row, column), or None.
    py::object first_nonfinite(int workers) const {
        Index place = 0;
        {
            const py::gil_scoped_release release;
            place = find_nonfinite(samples, workers);
        }
        if (place < 0) {
            return py::none();
        }
        if (samples.kind != Samples::Kind::csr) {
            return py::make_tuple(place / samples.columns, place % samples.columns);
        }
        const std::int64_t* after =
            std::upper_bound(samples.starts, samples.starts + samples.rows + 1, place);
        return py::make_tuple(after - samples.starts - 1, samples.indices[place]);
    }
};

// y, either as classes or as values, and the weights of the samples; the arrays stay the caller's.
Targets make_targets(const std::optional<Array<std::int32_t>>& classes,
                     const std::optional<Array<float>>& values,
                     const std::optional<Array<float>>& sample_weight) {
    return {.classes = classes ? classes->data() : nullptr,
            .values = values ? values->data() : nullptr,
            .weights = sample_weight ? sample_weight->data() : nullptr};
}

// ---- A network with its parameters ------------------------------------------------------------------

struct PyNetwork {
    Network network;
    Parameters parameters;

    PyNetwork(const std::vector<Index>& layer_sizes, const std::string& activation,
              const std::string& output, const std::optional<Array<float>>& start)
        : network{Shape{layer_sizes}, named(activations, activation), named(output_functions, output)},
          parameters{network.shape} {
        if (start) {
            if (start->size() != network.shape.packed_size()) {
                throw py::value_error{"parameters must have " +
                                      std::to_string(network.shape.packed_size()) + " entries; got " +
                                      std::to_string(start->size())};
            }
            unpack(network.shape, view(*start), parameters);
        }
    }

    Array<float> predict(const PySamples& X, bool raw, int workers) const {
        Array<float> out({X.samples.rows, network.shape.outputs()});
        float* data = out.mutable_data();
        {
            const py::gil_scoped_release release;
            omp_mlp::predict(network, parameters, X.samples, raw, workers, data);
        }
        return out;
    }

    // The mean loss over all of X as one batch, and its gradient.
    std::pair<double, Array<float>> gradient(const PySamples& X,
                                             const std::optional<Array<std::int32_t>>& classes,
                                             const std::optional<Array<float>>& values,
                                             const std::optional<Array<float>>& sample_weight,
                                             const std::string& first_layer) const {
        const Index rows = X.samples.rows;
        Workspace workspace{network, rows, choose_reading(named(first_layers, first_layer), X.samples)};
        std::vector<Index> ids(static_cast<std::size_t>(rows));
        std::iota(ids.begin(), ids.end(), Index{0});
        workspace.load(kernels(), X.samples, ids);
        first_forward(kernels(), network, parameters, workspace);
        upper_forward(kernels(), network, parameters, workspace);
        const double loss = loss_and_delta(kernels(), network,
                                           make_targets(classes, values, sample_weight), ids, workspace);
        Parameters gradient{network.shape};
        const float scale = 1.0F / static_cast<float>(rows);
        add_upper_gradient(kernels(), network, parameters, scale, workspace, gradient);
        add_first_gradient(kernels(), network, workspace, gradient);
        return {loss / static_cast<double>(rows), packed(network.shape, gradient)};
    }
};

// ---- Options of merge methods -----------------------------------------------------------------------

using PyOption = std::variant<double, std::string>;

std::vector<OptionValue> option_values(const std::vector<PyOption>& options) {
    std::vector<OptionValue> values;
    for (const PyOption& option : options) {
        if (const auto* number = std::get_if<double>(&option)) {
            values.push_back({"", *number});
        } else {
            values.push_back({std::get<std::string>(option), 0.0});
        }
    }
    return values;
}

// ---- Training ---------------------------------------------------------------------------------------

// Calls back into Python from a core that runs without the GIL. True stops the training.
Observer make_observer(const Network& network, const std::optional<py::function>& after_round,
                       const std::optional<py::function>& during_round) {
    Observer observer;
    if (after_round) {
        observer.after_round = [&](const RoundReport& report, const Parameters& master) {
            const py::gil_scoped_acquire acquire;
            return (*after_round)(report.samples, report.loss, report.train_seconds,
                                  report.merge_seconds, report.slowest_replica_seconds,
                                  packed(network.shape, master))
                .cast<bool>();
        };
    }
    observer.during_round = [&](const Progress& progress) {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) {
            throw py::error_already_set{};
        }
        return during_round && (*during_round)(progress.samples, progress.loss_sum).cast<bool>();
    };
    return observer;
}

py::tuple train_network(
    const PyNetwork& start, const PySamples& X, const std::optional<Array<std::int32_t>>& classes,
    const std::optional<Array<float>>& values, const std::optional<Array<float>>& sample_weight,
    const std::string& strategy, Index threads, int workers, Index epochs, Index batch_size,
    const std::string& first_layer, bool bfloat16_forward, double skip_confident, bool center_inputs,
    Index warmup_samples, const std::pair<Index, Index>& merge_every, const std::string& merge,
    const std::vector<PyOption>& merge_options, const std::optional<std::string>& last_merge,
    double outer_learning_rate, double outer_momentum, bool outer_nesterov, bool momentum_follows_rate,
    bool skip_nonfinite, double learning_rate, const std::string& schedule, const std::string& shuffle,
    const std::string& init_rule, double init_scale, const std::string& init, std::uint64_t seed,
    bool keep_replicas, const std::optional<py::function>& after_round,
    const std::optional<py::function>& during_round) {
    const Network& network = start.network;
    const TrainOptions options{
        .strategy = named(strategies, strategy),
        .threads = threads,
        .workers = workers,
        .epochs = epochs,
        .batch = {.batch_size = batch_size,
                  .first_layer = named(first_layers, first_layer),
                  .bfloat16_forward = bfloat16_forward,
                  .skip_confident = skip_confident},
        .center_inputs = center_inputs,
        .warmup_samples = warmup_samples,
        .merge = {.every = {merge_every.first, merge_every.second},
                  .method = &merge_method(merge),
                  .method_options = option_values(merge_options),
                  .last_method = last_merge ? &merge_method(*last_merge) : nullptr,
                  .outer = {outer_learning_rate, outer_momentum, outer_nesterov},
                  .momentum_follows_rate = momentum_follows_rate,
                  .skip_nonfinite = skip_nonfinite},
        .optimizer = {.method = &optimizer("sgd"),
                      .learning_rate = {learning_rate, named(schedules, schedule)},
                      .momentum = 0.0,
                      .accumulates = false},
        .shuffle = named(shuffles, shuffle),
        .init = {named(init_rules, init_rule), init_scale},
        .shared_start = init != "independent",
        .seed = seed,
        .keep_replicas = keep_replicas};
    const Targets targets = make_targets(classes, values, sample_weight);
    const Observer observer = make_observer(network, after_round, during_round);
    const std::optional<Parameters> given =
        init == "given" ? std::optional{start.parameters} : std::nullopt;
    const Samples for_replicas = X.for_replicas(options.batch.first_layer);
    const auto run = [&] {
        // From here to the end of the training no Python object is touched, except by the observer.
        const py::gil_scoped_release release;
        return options.strategy == Strategy::replica
                   ? train(network, for_replicas, targets, options, given, observer)
                   : train_one_network(network, X.samples, targets, options, given, observer);
    };
    const TrainResult result = run();

    py::list replicas;
    for (const Parameters& replica : result.replicas) {
        replicas.append(packed(network.shape, replica));
    }
    Array<double> history(
        {static_cast<Index>(result.history.size()), static_cast<Index>(history_columns.size()) + 1});
    double* row = history.mutable_data();
    for (const RoundReport& report : result.history) {
        *row++ = static_cast<double>(report.samples);
        for (const HistoryColumn& column : history_columns) {
            *row++ = report.*column.field;
        }
    }
    py::list skipped;
    for (std::size_t round = 0; round < result.history.size(); ++round) {
        for (const Index replica : result.history[round].skipped) {
            skipped.append(py::make_tuple(round, replica));
        }
    }
    return py::make_tuple(packed(network.shape, result.master), replicas, history, skipped);
}

Index count_rounds(Index length, const std::pair<Index, Index>& merge_every, Index batch_size) {
    return Rounds{length, {merge_every.first, merge_every.second}, batch_size}.count();
}

// ---- Merging ----------------------------------------------------------------------------------------

Array<float> merge_networks(const std::string& method, const std::vector<PyOption>& options,
                            const std::vector<Array<float>>& replicas,
                            const std::optional<Array<float>>& base,
                            const std::vector<double>& sample_share,
                            const std::vector<Index>& layer_ends, int workers) {
    std::vector<const float*> data;
    data.reserve(replicas.size());
    for (const Array<float>& replica : replicas) {
        data.push_back(replica.data());
    }
    Array<float> merged(layer_ends.back());
    const MergeInput input{data, sample_share, base ? base->data() : nullptr};
    Merger merger{merge_method(method), option_values(options), layer_ends, OuterStep{1.0, 0.0, false},
                  std::ssize(data)};
    float* out = merged.mutable_data();
    Team::run(workers, [&](Team& team) {
        merger.merge(
            input, 1.0,
            [&team](Index count, const std::function<void(Index)>& fn) { team.for_each(count, fn); },
            out);
    });
    return merged;
}

py::list list_merge_methods() {
    py::list methods;
    for (const MergeMethod& method : merge_methods()) {
        py::list options;
        for (const MergeOption& option : method.options) {
            options.append(py::dict("name"_a = option.name, "summary"_a = option.summary,
                                    "words"_a = std::vector(option.words.begin(), option.words.end())));
        }
        methods.append(py::dict("name"_a = method.name, "summary"_a = method.summary,
                                "formula"_a = method.formula, "reference"_a = method.reference,
                                "cadence"_a = method.cadence == Cadence::once ? "once" : "periodic",
                                "needs_base"_a = method.needs_base, "may_skip"_a = method.may_skip,
                                "options"_a = options));
    }
    return methods;
}

py::dict merge_cost(const std::string& method, const std::vector<PyOption>& options,
                    const std::vector<Index>& layer_sizes, std::optional<double> touched,
                    double outer_momentum, Index replicas, int workers, int passes) {
    const Shape shape{layer_sizes};
    std::vector<Index> layer_ends;
    for (const LayerShape& layer : shape.layers()) {
        layer_ends.push_back(layer.end());
    }
    const py::gil_scoped_release release;
    const SparseRows sparse{shape[0].stride, touched.value_or(1.0)};
    const MergeCost cost = measure_merge_cost(
        merge_method(method), option_values(options), layer_ends, touched ? &sparse : nullptr,
        OuterStep{1.0, outer_momentum, false}, replicas, workers, passes);
    const py::gil_scoped_acquire acquire;
    return py::dict("share_seconds"_a = cost.share_seconds, "load_seconds"_a = cost.load_seconds,
                    "loop_seconds"_a = cost.loop_seconds, "loops"_a = cost.loops);
}

// ---- The build tells on itself ----------------------------------------------------------------------

py::dict build_config() {
    return py::dict("version"_a = OMP_MLP_VERSION, "compiler"_a = OMP_MLP_COMPILER,
                    "build_type"_a = OMP_MLP_BUILD_TYPE, "openmp"_a = OMP_MLP_OPENMP_VERSION,
                    "pybind11"_a = PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
                        PYBIND11_VERSION_MINOR));
}

template <typename Table>
std::vector<std::string> names_of(std::span<const Table* const> tables) {
    std::vector<std::string> names;
    for (const Table* table : tables) {
        names.emplace_back(table->name);
    }
    return names;
}

Array<std::int64_t> epoch_order(Index samples, Index replicas, Index replica, Index epoch,
                                const std::string& shuffle, std::uint64_t seed) {
    const Shard shard{samples, replicas, replica, epoch + 1, named(shuffles, shuffle), seed};
    const Shard::Epoch order = shard.epoch(epoch);
    Array<std::int64_t> ids(shard.epoch_size());
    for (Index position = 0; position < shard.epoch_size(); ++position) {
        ids.mutable_at(position) = order[position];
    }
    return ids;
}

void translate_divergence(std::exception_ptr exception) {
    try {
        std::rethrow_exception(std::move(exception));
    } catch (const TrainingDiverged& diverged) {
        const py::object type = py::module_::import("omp_mlp.errors").attr("TrainingDivergedError");
        const py::object replica =
            diverged.replica < 0 ? py::object{py::none()} : py::object{py::int_(diverged.replica)};
        const py::object error = type(diverged.round, replica);
        PyErr_SetObject(type.ptr(), error.ptr());
    }
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "The compiled core of omp_mlp. Private: use the package.";
    py::register_local_exception_translator(translate_divergence);

    py::class_<PySamples>(m, "Samples")
        .def_static("dense_float32", &PySamples::dense_float32, py::kw_only(), "X"_a.noconvert())
        .def_static("dense_uint8", &PySamples::dense_uint8, py::kw_only(), "X"_a.noconvert(), "scale"_a)
        .def_static("csr", &PySamples::csr, py::kw_only(), "starts"_a.noconvert(),
                    "indices"_a.noconvert(), "values"_a.noconvert(), "rows"_a, "columns"_a)
        .def("list_density", &PySamples::list_density, py::kw_only(), "first_layer"_a)
        .def("keep_pixels", &PySamples::keep_pixels, py::kw_only(), "workers"_a)
        .def("first_nonfinite", &PySamples::first_nonfinite, py::kw_only(), "workers"_a);

    py::class_<PyNetwork>(m, "Network")
        .def(py::init<const std::vector<Index>&, const std::string&, const std::string&,
                      const std::optional<Array<float>>&>(),
             py::kw_only(), "layer_sizes"_a, "activation"_a, "output"_a, "parameters"_a.noconvert())
        .def("predict", &PyNetwork::predict, py::kw_only(), "samples"_a, "raw"_a, "workers"_a)
        .def("gradient", &PyNetwork::gradient, py::kw_only(), "samples"_a, "classes"_a.noconvert(),
             "values"_a.noconvert(), "sample_weight"_a.noconvert(), "first_layer"_a);

    m.def("train", &train_network, py::kw_only(), "network"_a, "samples"_a, "classes"_a.noconvert(),
          "values"_a.noconvert(), "sample_weight"_a.noconvert(), "strategy"_a, "threads"_a, "workers"_a,
          "epochs"_a, "batch_size"_a, "first_layer"_a, "bfloat16_forward"_a, "skip_confident"_a,
          "center_inputs"_a, "warmup_samples"_a, "merge_every"_a, "merge"_a, "merge_options"_a,
          "last_merge"_a, "outer_learning_rate"_a, "outer_momentum"_a, "outer_nesterov"_a,
          "momentum_follows_rate"_a, "skip_nonfinite"_a, "learning_rate"_a, "learning_rate_schedule"_a,
          "shuffle"_a, "init_rule"_a, "init_scale"_a, "init"_a, "seed"_a, "keep_replicas"_a,
          "after_round"_a, "during_round"_a);
    m.def("count_rounds", &count_rounds, py::kw_only(), "length"_a, "merge_every"_a, "batch_size"_a);
    m.def("merge", &merge_networks, py::kw_only(), "method"_a, "options"_a, "replicas"_a.noconvert(),
          "base"_a.noconvert(), "sample_share"_a, "layer_ends"_a, "workers"_a);
    m.def("merge_cost", &merge_cost, py::kw_only(), "method"_a, "options"_a, "layer_sizes"_a,
          "touched"_a, "outer_momentum"_a, "replicas"_a, "workers"_a, "passes"_a);
    m.def("merge_methods", &list_merge_methods);
    m.def("kernel_names", [] { return names_of(available_kernels()); });
    m.def("kernels_in_use", [] { return kernels().name; });
    m.def("select_kernels", &select_kernels, "name"_a);
    m.def("merge_loop_names", [] { return names_of(available_merge_loops()); });
    m.def("select_merge_loops", &select_merge_loops, "name"_a);
    m.def("openmp_max_threads", &openmp_max_threads);
    m.def("release_threads", &release_threads);
    m.def("build_config", &build_config);
    m.def("epoch_order", &epoch_order, py::kw_only(), "samples"_a, "replicas"_a, "replica"_a, "epoch"_a,
          "shuffle"_a, "seed"_a);
}
