#include "network/activation.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

namespace omp_mlp {
namespace {

double logistic(double z) {
    return 1.0 / (1.0 + std::exp(-z));
}

// In the order of the enumeration, by which properties() finds them.
//
// He et al. (2015) derive their scale for rectifiers, the leaky one too: half of what the variance of z brings
// is lost. GELU and SiLU lose about as much: of z of variance 1, the mean of phi(z)^2 is 0.5 for ReLU, 0.43 for
// GELU, 0.36 for SiLU and 0.43 for Mish. Glorot & Bengio (2010) take phi for the identity, for which it is 1. SELU is made
// for weights of variance 1 / fan_in (LeCun et al. 1998): then it is 1, too, and stays 1 from layer to layer.
constexpr std::array rows{
    ActivationRow{.activation = Activation::relu,
                  .name = "relu",
                  .formula = "max(z, 0)",
                  .reference = "Nair & Hinton 2010",
                  .value = [](double z) { return z < 0.0 ? 0.0 : z; },
                  .needs_z = false,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::he},
    ActivationRow{.activation = Activation::leaky_relu,
                  .name = "leaky_relu",
                  .formula = "z for z > 0, else 0.01 z",
                  .reference = "Maas, Hannun & Ng 2013",
                  .value = [](double z) { return z < 0.0 ? 0.01 * z : z; },
                  .needs_z = false,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::he},
    ActivationRow{.activation = Activation::tanh,
                  .name = "tanh",
                  .formula = "tanh(z)",
                  .reference = "LeCun et al. 1998",
                  .value = [](double z) { return std::tanh(z); },
                  .needs_z = false,
                  .is_odd = true,
                  .keeps_zero = true,
                  .init = InitScale::glorot},
    ActivationRow{.activation = Activation::logistic,
                  .name = "logistic",
                  .formula = "1 / (1 + exp(-z))",
                  .reference = "Rumelhart, Hinton & Williams 1986",
                  .value = logistic,
                  .needs_z = false,
                  .is_odd = true,
                  .keeps_zero = false,
                  .init = InitScale::glorot},
    ActivationRow{.activation = Activation::gelu,
                  .name = "gelu",
                  .formula = "z Phi(z), Phi(z) = (1 + erf(z / sqrt(2))) / 2",
                  .reference = "Hendrycks & Gimpel 2016",
                  // The limit at -infinity is 0. There, Phi(z) is 0 in double from -39 on.
                  .value =
                      [](double z) {
                          const double below = 0.5 * std::erfc(-z / std::numbers::sqrt2);
                          return (z < -39.0 ? -39.0 : z) * below;
                      },
                  .needs_z = true,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::he},
    ActivationRow{.activation = Activation::silu,
                  .name = "silu",
                  .formula = "z / (1 + exp(-z))",
                  .reference = "Elfwing, Uchibe & Doya 2018",
                  .value = [](double z) { return (z < -800.0 ? -800.0 : z) * logistic(z); },
                  .needs_z = true,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::he},
    ActivationRow{.activation = Activation::selu,
                  .name = "selu",
                  .formula = "1.0507 z for z > 0, else 1.7581 (exp(z) - 1)",
                  .reference = "Klambauer et al. 2017",
                  .value =
                      [](double z) {
                          constexpr double scale = 1.05070098735548049342;
                          constexpr double alpha = 1.67326324235437728481;
                          return scale * (z > 0.0 ? z : alpha * std::expm1(z));
                      },
                  .needs_z = false,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::lecun},
    ActivationRow{.activation = Activation::mish,
                  .name = "mish",
                  .formula = "z tanh(ln(1 + exp(z)))",
                  .reference = "Misra 2019",
                  .value =
                      [](double z) {
                          // Beyond 40, tanh is 1 in double; below -800, exp(z) is 0.
                          const double e = std::exp(z < 40.0 ? z : 40.0);
                          const double n = e * (e + 2.0);
                          return (z < -800.0 ? -800.0 : z) * (n / (n + 2.0));
                      },
                  .needs_z = true,
                  .is_odd = false,
                  .keeps_zero = true,
                  .init = InitScale::he},
    ActivationRow{.activation = Activation::identity,
                  .name = "identity",
                  .formula = "z",
                  .reference = "",
                  .value = [](double z) { return z; },
                  .needs_z = false,
                  .is_odd = true,
                  .keeps_zero = true,
                  .init = InitScale::glorot},
};

constexpr bool is_in_order() {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (static_cast<std::size_t>(rows[i].activation) != i) {
            return false;
        }
    }
    return true;
}
static_assert(is_in_order());

}  // namespace

std::span<const ActivationRow> activations() {
    return rows;
}

const ActivationRow& properties(Activation activation) {
    return rows[static_cast<std::size_t>(activation)];
}

Activation activation_of(std::string_view name) {
    std::string names;
    for (const ActivationRow& known : rows) {
        if (name == known.name) {
            return known.activation;
        }
        names += names.empty() ? "'" : ", '";
        names += std::string{known.name} + "'";
    }
    throw std::invalid_argument{"activation must be one of " + names + "; got '" + std::string{name} +
                                "'"};
}

}  // namespace omp_mlp
