// Enums of the core have names in Python: an argument of an enum's type is a str.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "data/reading.hpp"
#include "merging/methods.hpp"
#include "merging/update_sums.hpp"
#include "network/activation.hpp"
#include "network/network.hpp"
#include "training/options.hpp"

namespace omp_mlp {

template <typename Enum>
inline constexpr std::array<std::pair<const char*, Enum>, 0> names_of{};

template <>
inline constexpr std::array names_of<Output>{
    std::pair{"softmax", Output::softmax}, std::pair{"identity", Output::identity},
    std::pair{"logistic", Output::logistic}, std::pair{"exponential", Output::exponential}};
template <>
inline constexpr std::array names_of<Averaging>{std::pair{"none", Averaging::none},
                                                std::pair{"lawa", Averaging::lawa},
                                                std::pair{"ema", Averaging::ema}};
template <>
inline constexpr std::array names_of<Shuffle>{std::pair{"none", Shuffle::none},
                                              std::pair{"shards", Shuffle::shards},
                                              std::pair{"global", Shuffle::global}};
template <>
inline constexpr std::array names_of<Schedule>{std::pair{"constant", Schedule::constant},
                                               std::pair{"linear", Schedule::linear},
                                               std::pair{"cosine", Schedule::cosine},
                                               std::pair{"one_cycle", Schedule::one_cycle},
                                               std::pair{"inverse_scaling", Schedule::inverse_scaling},
                                               std::pair{"adaptive", Schedule::adaptive},
                                               std::pair{"coslog4", Schedule::coslog4}};
template <>
inline constexpr std::array names_of<FirstLayer>{std::pair{"auto", FirstLayer::automatic},
                                                 std::pair{"sparse", FirstLayer::sparse},
                                                 std::pair{"dense", FirstLayer::dense}};
template <>
inline constexpr std::array names_of<Strategy>{
    std::pair{"replica", Strategy::replica}, std::pair{"section", Strategy::section},
    std::pair{"synchronous", Strategy::synchronous}, std::pair{"hogwild", Strategy::hogwild}};
template <>
inline constexpr std::array names_of<StateAtMerge>{std::pair{"keep", StateAtMerge::keep},
                                                   std::pair{"average", StateAtMerge::average},
                                                   std::pair{"reset", StateAtMerge::reset}};
template <>
inline constexpr std::array names_of<SentAs>{std::pair{"float32", SentAs::float32},
                                             std::pair{"bfloat16", SentAs::bfloat16},
                                             std::pair{"largest", SentAs::largest}};
template <>
inline constexpr std::array names_of<InitScale>{
    std::pair{"fixed", InitScale::fixed}, std::pair{"glorot", InitScale::glorot},
    std::pair{"he", InitScale::he}, std::pair{"lecun", InitScale::lecun}};

template <>
inline constexpr std::array names_of<Cadence>{std::pair{"once", Cadence::once},
                                              std::pair{"periodic", Cadence::periodic}};

template <typename Enum>
inline constexpr bool has_names = std::is_enum_v<Enum> && !names_of<Enum>.empty();

}  // namespace omp_mlp

namespace pybind11::detail {

// Activations have their names in the table of their rows.
template <>
struct type_caster_enum_type_enabled<omp_mlp::Activation> : std::false_type {};

template <>
class type_caster<omp_mlp::Activation> {
public:
    PYBIND11_TYPE_CASTER(omp_mlp::Activation, const_name("str"));

    bool load(handle source, bool /*convert*/) {
        if (!isinstance<str>(source)) {
            return false;
        }
        value = omp_mlp::activation_of(source.cast<std::string>());
        return true;
    }

    static handle cast(omp_mlp::Activation source, return_value_policy /*policy*/, handle /*parent*/) {
        return str{omp_mlp::properties(source).name}.release();
    }
};

template <typename Enum>
struct type_caster_enum_type_enabled<Enum, std::enable_if_t<omp_mlp::has_names<Enum>>>
    : std::false_type {};

template <typename Enum>
class type_caster<Enum, std::enable_if_t<omp_mlp::has_names<Enum>>> {
public:
    PYBIND11_TYPE_CASTER(Enum, const_name("str"));

    bool load(handle source, bool /*convert*/) {
        if (!isinstance<str>(source)) {
            return false;
        }
        const auto name = source.cast<std::string>();
        std::string known;
        for (const auto& [text, named] : omp_mlp::names_of<Enum>) {
            if (name == text) {
                value = named;
                return true;
            }
            known += std::string{known.empty() ? "" : ", "} + text;
        }
        throw value_error{"must be one of " + known + "; got " + name};
    }

    static handle cast(Enum source, return_value_policy /*policy*/, handle /*parent*/) {
        for (const auto& [text, named] : omp_mlp::names_of<Enum>) {
            if (source == named) {
                return str{text}.release();
            }
        }
        throw value_error{"an enum without a name"};
    }
};

}  // namespace pybind11::detail
