#include "network/predict.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/block.hpp"
#include "kernels/dispatch.hpp"
#include "threads/team.hpp"

namespace omp_mlp {

void predict(const Network& network, const Parameters& parameters, const Samples& X, bool raw,
             int workers, Heartbeat& heartbeat, float* out) {
    // Samples a batch: enough to read the weights from cache, few enough for the activations to stay
    // there. A wide layer is copied in blocks, which takes less of the time the more samples there are.
    const auto& layers = network.shape.layers();
    const bool is_wide = std::ranges::any_of(
        layers, [](const LayerShape& layer) { return layer.size() > (Index{1} << 18); });
    const Index batch_size = is_wide ? 128 : 64;
    const Kernels& table = kernels();
    const Index outputs = network.shape.outputs();
    const Index stride = network.shape.layers().back().stride;
    const Index batches = (X.rows + batch_size - 1) / batch_size;
    const Index pieces = std::min<Index>(workers, batches);
    const Reading reading = choose_reading(FirstLayer::automatic, X);
    const auto predict_piece = [&](Index piece) {
        // Whole batches, so that they are the same for any number of workers: a sample's last bits depend
        // on how many it shares its batch with.
        const Block own = block(batches, pieces, piece);
        const Index first = own.begin * batch_size;
        const Index end = std::min(first + own.size * batch_size, X.rows);
        Workspace workspace{network, X, std::min(batch_size, end - first), reading};
        std::vector<Index> ids;
        Reporter reporter{heartbeat, network.shape.size()};
        for (Index begin = first; begin < end && !reporter.stopped(); begin += batch_size) {
            const Index count = std::min(batch_size, end - begin);
            ids.resize(static_cast<std::size_t>(count));
            std::iota(ids.begin(), ids.end(), begin);
            workspace.load(table, ids);
            first_forward(table, network, parameters, workspace);
            upper_forward(table, network, parameters, workspace);
            if (!raw) {
                apply_output(table, network, workspace);
            }
            for (Index s = 0; s < count; ++s) {
                std::copy_n(workspace.outputs() + s * stride, outputs, out + (begin + s) * outputs);
            }
            reporter.report(begin + count - first, 0.0);
        }
    };
    Team::run(static_cast<int>(pieces), [&](Team& team) {
        team.for_each(pieces, predict_piece, [&heartbeat] { heartbeat.wait(); });
    });
}

}  // namespace omp_mlp
