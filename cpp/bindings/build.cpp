#include "bindings/build.hpp"

#include <pybind11/stl.h>

#include <span>
#include <string>
#include <vector>

#include "kernels/dispatch.hpp"
#include "merging/loops.hpp"
#include "optimizer/optimizer.hpp"
#include "threads/team.hpp"

namespace omp_mlp {

using namespace py::literals;

namespace {

py::dict build_config() {
    return py::dict("version"_a = OMP_MLP_VERSION, "compiler"_a = OMP_MLP_COMPILER,
                    "build_type"_a = OMP_MLP_BUILD_TYPE, "openmp"_a = OMP_MLP_OPENMP_VERSION,
                    "pybind11"_a = PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
                        PYBIND11_VERSION_MINOR));
}

template <typename Table>
std::vector<std::string> names(std::span<const Table* const> tables) {
    std::vector<std::string> found;
    for (const Table* table : tables) {
        found.emplace_back(table->name);
    }
    return found;
}

}  // namespace

void bind_build(py::module_& m) {
    m.def("build_config", &build_config);
    m.def("kernel_names", [] { return names(available_kernels()); });
    m.def("kernels_in_use", [] { return kernels().name; });
    m.def("has_bfloat16_products", [] { return bfloat16_kernels() != nullptr; });
    m.def("select_kernels", &select_kernels, "name"_a);
    m.def("merge_loop_names", [] { return names(available_merge_loops()); });
    m.def("select_merge_loops", &select_merge_loops, "name"_a);
    m.def("optimizer_table_names", [] { return names(available_optimizer_tables()); });
    m.def("select_optimizer_table", &select_optimizer_table, "name"_a);
    m.def("openmp_max_threads", &openmp_max_threads);
    m.def("release_threads", &release_threads);
    m.def("missing_threads", &missing_threads);
    m.def("close_core", &close_core);
}

}  // namespace omp_mlp
