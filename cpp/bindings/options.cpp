#include "bindings/options.hpp"

#include <pybind11/stl.h>

#include "bindings/merge.hpp"
#include "bindings/names.hpp"
#include "bindings/optimizer.hpp"
#include "bindings/structs.hpp"
#include "training/options.hpp"

namespace omp_mlp {

void bind_options(py::module_& m) {
    bind_struct(m, "Period", field("first", &Period::first), field("last", &Period::last));
    bind_struct(m, "Init", field("rule", &Init::rule), field("first", &Init::first),
                field("scale", &Init::scale), field("first_biases", &Init::first_biases),
                field("last_weights", &Init::last_weights));
    bind_struct(m, "BatchOptions", field("batch_size", &BatchOptions::batch_size),
                field("first_layer", &BatchOptions::first_layer),
                field("bfloat16", &BatchOptions::bfloat16),
                field("skip_confident", &BatchOptions::skip_confident));
    bind_struct(
        m, "MergeOptions", field("every", &MergeOptions::every), field("method", &MergeOptions::method),
        field("method_options", &MergeOptions::method_options),
        field("last_method", &MergeOptions::last_method), field("outer", &MergeOptions::outer),
        field("momentum_follows_rate", &MergeOptions::momentum_follows_rate),
        field("skip_nonfinite", &MergeOptions::skip_nonfinite), field("state", &MergeOptions::state));
    bind_struct(m, "AveragingOptions", field("kind", &AveragingOptions::kind),
                field("span", &AveragingOptions::span));
    bind_struct(m, "TrainOptions", field("strategy", &TrainOptions::strategy),
                field("threads", &TrainOptions::threads), field("workers", &TrainOptions::workers),
                field("epochs", &TrainOptions::epochs), field("batch", &TrainOptions::batch),
                field("center_inputs", &TrainOptions::center_inputs),
                field("warmup_samples", &TrainOptions::warmup_samples),
                field("merge", &TrainOptions::merge), field("averaging", &TrainOptions::averaging),
                field("optimizer", &TrainOptions::optimizer), field("shuffle", &TrainOptions::shuffle),
                field("init", &TrainOptions::init), field("shared_start", &TrainOptions::shared_start),
                field("seed", &TrainOptions::seed), field("dropout", &TrainOptions::dropout),
                field("keep_replicas", &TrainOptions::keep_replicas));
}

}  // namespace omp_mlp
