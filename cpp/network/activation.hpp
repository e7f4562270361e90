// The activations: what the units of a hidden layer make of z.
//
// To add one: write its name in kernels/kernels.hpp, its value and its derivative in
// kernels/simd/activations.hpp and in kernels/plain.cpp, its row in activation.cpp, and its oracle in
// tests/oracle/network.py. Python reads names and properties from the rows. tests/test_activations.py holds
// the rows against the functions.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernels.hpp"
#include "network/parameters.hpp"

namespace omp_mlp {

struct ActivationRow {
    Activation activation;
    const char* name;
    const char* formula;
    const char* reference;
    double (*value)(double z);  // phi(z)
    bool needs_z;               // phi' is written in terms of z; else in terms of a = phi(z)
    bool is_odd;                // phi(-z) - phi(0) = -(phi(z) - phi(0)): a unit may change its sign
    bool keeps_zero;            // phi(0) = 0: the padding of a row stays zero by itself
    InitScale init;             // how initial weights are scaled by default
};

std::span<const ActivationRow> activations();
const ActivationRow& properties(Activation activation);
// Throws std::invalid_argument, listing the names, if there is no activation of that name.
Activation activation_of(std::string_view name);

}  // namespace omp_mlp
