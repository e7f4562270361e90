#include "optimizer/optimizer.hpp"

#include <stdexcept>
#include <string>
#include <vector>

#include "base/table_choice.hpp"

namespace omp_mlp {

// Of flat_step.cpp. The narrow one runs on every machine.
extern const OptimizerTable narrow_optimizers;
#if defined(__x86_64__)
extern const OptimizerTable avx2_optimizers;
extern const OptimizerTable avx512_optimizers;
#endif

namespace {

std::vector<const OptimizerTable*> runnable_tables() {
    std::vector<const OptimizerTable*> found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        found.push_back(&avx512_optimizers);
    }
    if (__builtin_cpu_supports("avx2")) {
        found.push_back(&avx2_optimizers);
    }
#endif
    found.push_back(&narrow_optimizers);
    return found;
}

TableChoice<OptimizerTable>& choice() {
    static TableChoice<OptimizerTable> of_tables{runnable_tables(), "optimizer table"};
    return of_tables;
}

}  // namespace

std::span<const OptimizerTable* const> available_optimizer_tables() {
    return choice().runnable();
}

void select_optimizer_table(std::string_view name) {
    choice().select(name);
}

std::span<const Optimizer> optimizers() {
    const OptimizerTable& table = choice().selected();
    return {table.rows, static_cast<std::size_t>(table.count)};
}

const Optimizer& optimizer(std::string_view name) {
    std::string names;
    for (const Optimizer& known : optimizers()) {
        if (name == known.name) {
            return known;
        }
        names += (names.empty() ? "'" : ", '") + std::string{known.name} + "'";
    }
    throw std::invalid_argument{"optimizer must be one of " + names + "; got '" + std::string{name} +
                                "'"};
}

Stepper::Stepper(const OptimizerOptions& options, Index parameters)
    : options_{options},
      size_{parameters},
      state_(static_cast<std::size_t>(options.method->state * parameters)) {}

void Stepper::step(double rate, const float* gradient, float* parameters) {
    options_.method->step(parameters, gradient, state_.data(), size_,
                          {.rate = static_cast<float>(rate), .options = options_});
}

}  // namespace omp_mlp
