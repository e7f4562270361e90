#include "bindings/merge.hpp"

#include <pybind11/stl.h>

#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <vector>

#include "bindings/names.hpp"
#include "bindings/structs.hpp"
#include "merging/cost.hpp"
#include "merging/merger.hpp"
#include "threads/team.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

constexpr OuterStep no_outer_step{1.0, 0.0, false};

Array<float> merge_networks(const MergeMethod& method, const std::vector<OptionValue>& options,
                            const std::vector<Array<float>>& replicas,
                            const std::optional<Array<float>>& base,
                            const std::vector<double>& sample_share,
                            const std::vector<Index>& layer_ends, int workers) {
    std::vector<const float*> data;
    data.reserve(replicas.size());
    for (const Array<float>& replica : replicas) {
        data.push_back(replica.data());
    }
    const MergeInput input{data, sample_share, base ? base->data() : nullptr};
    Array<float> merged(layer_ends.back());
    float* out = merged.mutable_data();
    without_gil([&] {
        Merger merger{method, options, layer_ends, no_outer_step, std::ssize(data)};
        Heartbeat heartbeat = watch_for_signals();
        Team::run(workers, [&](Team& team) {
            // A slice is some thousand multiply-adds, so the clock is read after some of them only.
            const ForEach for_each = [&](Index count, const std::function<void(Index)>& fn) {
                team.for_each(count, [&](Index i) {
                    if (!heartbeat.stopped()) {
                        fn(i);
                        if (i % 16 == 0) {
                            heartbeat.check_in(0, 0.0);
                        }
                    }
                });
            };
            merger.merge(input, 1.0, for_each, out);
        });
        if (heartbeat.stopped()) {
            throw std::runtime_error{"the merge was stopped: the interpreter is shutting down"};
        }
    });
    return merged;
}

MergeCost merge_cost(const MergeMethod& method, const std::vector<OptionValue>& options,
                     const std::vector<Index>& layer_sizes, std::optional<double> touched,
                     const OuterStep& outer, Index replicas, int workers, int passes) {
    return without_gil([&] {
        const Shape shape{layer_sizes};
        std::vector<Index> layer_ends;
        for (const LayerShape& layer : shape.layers()) {
            layer_ends.push_back(layer.end());
        }
        const SparseRows sparse{shape[0].stride, touched.value_or(1.0)};
        return measure_merge_cost(method, options, layer_ends, touched ? &sparse : nullptr, outer,
                                  replicas, workers, passes);
    });
}

}  // namespace

void bind_merge(py::module_& m) {
    py::class_<MergeOption>(m, "MergeOption")
        .def_readonly("name", &MergeOption::name)
        .def_readonly("summary", &MergeOption::summary)
        .def_property_readonly("words", [](const MergeOption& option) {
            return std::vector(option.words.begin(), option.words.end());
        });
    py::class_<MergeMethod>(m, "MergeMethod")
        .def_readonly("name", &MergeMethod::name)
        .def_readonly("summary", &MergeMethod::summary)
        .def_readonly("formula", &MergeMethod::formula)
        .def_readonly("reference", &MergeMethod::reference)
        .def_readonly("cadence", &MergeMethod::cadence)
        .def_readonly("needs_base", &MergeMethod::needs_base)
        .def_readonly("may_skip", &MergeMethod::may_skip)
        .def_property_readonly("merges_by_sums", &merges_by_sums)
        .def_property_readonly("options", [](const MergeMethod& method) {
            return std::vector(method.options.begin(), method.options.end());
        });
    bind_struct(m, "OuterStep", field("learning_rate", &OuterStep::learning_rate),
                field("momentum", &OuterStep::momentum), field("nesterov", &OuterStep::nesterov));
    py::class_<MergeCost>(m, "MergeCost")
        .def_readonly("share_seconds", &MergeCost::share_seconds)
        .def_readonly("load_seconds", &MergeCost::load_seconds)
        .def_readonly("loop_seconds", &MergeCost::loop_seconds)
        .def_readonly("loops", &MergeCost::loops);

    m.def(
        "merge_methods",
        [] {
            std::vector<const MergeMethod*> methods;
            for (const MergeMethod& method : merge_methods()) {
                methods.push_back(&method);
            }
            return methods;
        },
        py::return_value_policy::reference);  // the rows of a table that is always there
    m.def("merge_method", &merge_method, py::return_value_policy::reference, "name"_a);
    m.def("merge", &merge_networks, py::kw_only(), "method"_a, "options"_a, "replicas"_a.noconvert(),
          "base"_a.noconvert(), "sample_share"_a, "layer_ends"_a, "workers"_a);
    m.def("merge_cost", &merge_cost, py::kw_only(), "method"_a, "options"_a, "layer_sizes"_a,
          "touched"_a, "outer"_a, "replicas"_a, "workers"_a, "passes"_a);
}

}  // namespace omp_mlp
