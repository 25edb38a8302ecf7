// The matte of an image with OpenVINO's C++ interface.
//
//   matte NETWORK.xml IMAGE.ppm MATTE.pgm
//
// NETWORK.xml is the embedded network (streammatte/assets/ppmattingv2-lite.f16.xml or .int8.xml) or what `streammatte
// models export --to openvino` writes: it takes uint8 RGB (1, H, W, 3) and normalises by itself. The image is taken at its
// own size: scale it first, to a long side of about 512 (ffmpeg -i in.jpg -vf scale=512:-2 image.ppm).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

struct Image {
    size_t width = 0, height = 0;
    std::vector<uint8_t> rgb;
};

// One number of a PPM header; comments run to the end of a line.
static size_t number(std::istream& file) {
    while (std::isspace(file.peek()) || file.peek() == '#') {
        if (file.peek() == '#') {
            std::string comment;
            std::getline(file, comment);
        } else {
            file.get();
        }
    }
    size_t value = 0;
    if (!(file >> value)) throw std::runtime_error("the image's header is damaged");
    return value;
}

static Image read_ppm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    char magic[2] = {};
    if (!file.read(magic, 2) || magic[0] != 'P' || magic[1] != '6') throw std::runtime_error(path + " is no binary PPM");
    Image image;
    image.width = number(file);
    image.height = number(file);
    if (number(file) != 255) throw std::runtime_error(path + " has not 8 bits a channel");
    if (!image.width || !image.height || image.width > 4096 || image.height > 4096)
        throw std::runtime_error(path + " is larger than 4096x4096, or empty");
    file.get();
    image.rgb.resize(image.width * image.height * 3);
    if (!file.read(reinterpret_cast<char*>(image.rgb.data()), static_cast<std::streamsize>(image.rgb.size())))
        throw std::runtime_error(path + " ends too early");
    return image;
}

static size_t up(size_t side) { return (side + 31) / 32 * 32; }

// The image at the top left of sides that are multiples of 32, its last row and column repeated, as the product pads.
static ov::Tensor padded(const Image& image) {
    const size_t height = up(image.height), width = up(image.width);
    ov::Tensor tensor(ov::element::u8, {1, height, width, 3});
    uint8_t* out = tensor.data<uint8_t>();
    for (size_t y = 0; y < height; ++y) {
        const uint8_t* row = image.rgb.data() + std::min(y, image.height - 1) * image.width * 3;
        for (size_t x = 0; x < width; ++x, out += 3) std::copy_n(row + std::min(x, image.width - 1) * 3, 3, out);
    }
    return tensor;
}

// Alpha (h, w), which the network gives at half its input's size, bilinear at a pixel of the input.
static float at(const float* alpha, size_t h, size_t w, float y, float x) {
    y = std::clamp(y, 0.0f, static_cast<float>(h - 1));
    x = std::clamp(x, 0.0f, static_cast<float>(w - 1));
    const size_t top = static_cast<size_t>(y), left = static_cast<size_t>(x);
    const size_t bottom = std::min(top + 1, h - 1), right = std::min(left + 1, w - 1);
    const float down = y - static_cast<float>(top), across = x - static_cast<float>(left);
    const float above = alpha[top * w + left] * (1 - across) + alpha[top * w + right] * across;
    const float below = alpha[bottom * w + left] * (1 - across) + alpha[bottom * w + right] * across;
    return above * (1 - down) + below * down;
}

int main(int count, char** given) try {
    if (count != 4) throw std::runtime_error("usage: matte NETWORK.xml IMAGE.ppm MATTE.pgm");
    const Image image = read_ppm(given[2]);
    const ov::Tensor input = padded(image);
    ov::Core core;
    auto model = core.read_model(given[1]);
    model->reshape(ov::PartialShape(ov::Shape(input.get_shape())));
    // Without a precision a processor with bfloat16 instructions uses them: faster, edges up to 0.08 different.
    auto request = core.compile_model(model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                      ov::hint::inference_precision(ov::element::f32))
                       .create_infer_request();
    request.set_input_tensor(input);
    request.infer();
    const ov::Tensor output = request.get_output_tensor();
    const size_t h = output.get_shape()[1], w = output.get_shape()[2];
    const float scale_y = static_cast<float>(h) / static_cast<float>(input.get_shape()[1]);
    const float scale_x = static_cast<float>(w) / static_cast<float>(input.get_shape()[2]);
    std::vector<uint8_t> matte(image.width * image.height);
    for (size_t y = 0; y < image.height; ++y)
        for (size_t x = 0; x < image.width; ++x) {
            const float value = at(output.data<const float>(), h, w, (static_cast<float>(y) + 0.5f) * scale_y - 0.5f,
                                   (static_cast<float>(x) + 0.5f) * scale_x - 0.5f);
            matte[y * image.width + x] = static_cast<uint8_t>(std::lround(255 * std::clamp(value, 0.0f, 1.0f)));
        }
    std::ofstream file(given[3], std::ios::binary);
    file << "P5\n" << image.width << ' ' << image.height << "\n255\n";
    file.write(reinterpret_cast<const char*>(matte.data()), static_cast<std::streamsize>(matte.size()));
    file.close();
    if (!file) throw std::runtime_error(std::string("cannot write ") + given[3]);
    return 0;
} catch (const std::exception& error) {
    std::cerr << "matte: " << error.what() << '\n';
    return 1;
}
