plugins {
    id("com.android.application") version "8.7.0"
    id("org.jetbrains.kotlin.android") version "2.0.21"
}

android {
    namespace = "org.streammatte.example"
    compileSdk = 35
    defaultConfig {
        applicationId = "org.streammatte.example"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1"
    }
    androidResources { noCompress += "onnx" }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.camera:camera-camera2:1.4.0")
    implementation("androidx.camera:camera-lifecycle:1.4.0")
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.20.0")
}
