// Segment an image with OpenVINO: openvino_cpp MODEL.xml IMAGE OUT.png
//
// OpenVINO's wheel has headers and libraries (pip install openvino); OpenCV and the JSON reader are
// Debian's libopencv-dev and nlohmann-json3-dev:
//   OV=$(python -c "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent)")
//   g++ -std=c++17 -O2 openvino_cpp.cpp -o openvino_cpp -I$OV/include -I/usr/include/opencv4 \
//     -L$OV/libs -l:$(basename $OV/libs/libopenvino.so.*) -Wl,-rpath,$OV/libs \
//     -lopencv_core -lopencv_imgproc -lopencv_imgcodecs
// The card is MODEL.xml.json (segdeploy export --format openvino --card-file).

#include <fstream>
#include <iostream>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <openvino/openvino.hpp>

int main(int count, char** arguments) {
    if (count != 4) {
        std::cerr << "usage: openvino_cpp MODEL.xml IMAGE OUT.png\n";
        return 2;
    }
    const std::string model = arguments[1], out = arguments[3];
    std::ifstream card_file(model + ".json");
    const auto card = nlohmann::json::parse(card_file);
    const int height = card["input"]["height"], width = card["input"]["width"];

    const cv::Mat image = cv::imread(arguments[2], cv::IMREAD_COLOR);
    if (image.empty()) {
        std::cerr << arguments[2] << " cannot be read\n";
        return 3;
    }
    cv::Mat input;
    cv::resize(image, input, {width, height}, 0, 0, cv::INTER_AREA);
    cv::cvtColor(input, input, cv::COLOR_BGR2RGB);

    // The file takes uint8 RGB, (1, height, width, 3); the graph itself normalizes.
    ov::Core core;
    // Processors with AMX would compute in bfloat16, where one label in a hundred differs.
    const auto exact = ov::hint::inference_precision(ov::element::f32);
    auto request = core.compile_model(model, "CPU", exact).create_infer_request();
    const ov::Shape shape{1, size_t(height), size_t(width), 3};
    request.set_input_tensor(ov::Tensor(ov::element::u8, shape, input.data));
    request.infer();
    ov::Tensor logits = request.get_output_tensor(0);
    const auto dims = logits.get_shape();
    const int classes = int(dims[1]), rows = int(dims[2]), columns = int(dims[3]);

    // Logits are upsampled before the best class is taken: the other order leaves stairs.
    cv::Mat best(image.size(), CV_32F, cv::Scalar(-std::numeric_limits<float>::infinity()));
    cv::Mat mask(image.size(), CV_8U, cv::Scalar(0));
    for (int index = 0; index < classes; ++index) {
        float* numbers = logits.data<float>() + size_t(index) * rows * columns;
        const cv::Mat plane(rows, columns, CV_32F, numbers);
        cv::Mat upsampled;
        cv::resize(plane, upsampled, image.size(), 0, 0, cv::INTER_LINEAR);
        const cv::Mat better = upsampled > best;
        upsampled.copyTo(best, better);
        mask.setTo(index, better);
    }

    cv::Mat overlay = image.clone();
    for (int y = 0; y < image.rows; ++y) {
        for (int x = 0; x < image.cols; ++x) {
            const auto& color = card["classes"][mask.at<uchar>(y, x)]["color"];
            auto& pixel = overlay.at<cv::Vec3b>(y, x);
            // OpenCV holds blue, green, red.
            for (int channel = 0; channel < 3; ++channel) {
                pixel[channel] = uchar((pixel[channel] + int(color[2 - channel]) + 1) / 2);
            }
        }
    }
    cv::imwrite(out, overlay);
    cv::imwrite(out + ".mask.png", mask);
    return 0;
}
