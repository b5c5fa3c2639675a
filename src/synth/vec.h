/* vec.h - three numbers and what one does with them. x right, y down, z towards the viewer. */
#ifndef TRESS_SYNTH_VEC_H
#define TRESS_SYNTH_VEC_H

#include <math.h>

#ifndef __cplusplus

typedef struct vec3 { float x, y, z; } vec3;

static inline vec3  v3(float x, float y, float z) { return (vec3){ x, y, z }; }
static inline vec3  v_add(vec3 a, vec3 b) { return v3(a.x + b.x, a.y + b.y, a.z + b.z); }
static inline vec3  v_sub(vec3 a, vec3 b) { return v3(a.x - b.x, a.y - b.y, a.z - b.z); }
static inline vec3  v_mul(vec3 a, vec3 b) { return v3(a.x * b.x, a.y * b.y, a.z * b.z); }
static inline vec3  v_scale(vec3 a, float k) { return v3(a.x * k, a.y * k, a.z * k); }
static inline vec3  v_axpy(vec3 a, float k, vec3 b) { return v3(a.x + k * b.x, a.y + k * b.y, a.z + k * b.z); }   /* a + k b */
static inline float v_dot(vec3 a, vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static inline vec3  v_cross(vec3 a, vec3 b) { return v3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x); }
static inline float v_len(vec3 a) { return sqrtf(v_dot(a, a)); }
static inline vec3  v_unit(vec3 a) { const float n = v_len(a); return n > 1e-12f ? v_scale(a, 1 / n) : v3(0, 1, 0); }
static inline vec3  v_lerp(vec3 a, vec3 b, float t) { return v_axpy(a, t, v_sub(b, a)); }

static inline float f_lerp(float a, float b, float t) { return a + (b - a) * t; }
static inline float f_clamp(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }
static inline float f_step(float lo, float hi, float x) { const float t = f_clamp((x - lo) / (hi - lo), 0, 1); return t * t * (3 - 2 * t); }

/* Rows of a rotation: model axes in world coordinates. */
typedef struct mat3 { vec3 r[3]; } mat3;
static inline vec3 m_to_model(const mat3 *m, vec3 p) { return v3(v_dot(m->r[0], p), v_dot(m->r[1], p), v_dot(m->r[2], p)); }
static inline vec3 m_to_world(const mat3 *m, vec3 p)
{
    return v_axpy(v_axpy(v_scale(m->r[0], p.x), p.y, m->r[1]), p.z, m->r[2]);
}
/* Turned by yaw round y, then pitch round x, then roll round z; radians. Positive yaw shows the model's left cheek. */
static inline mat3 m_turn(float yaw, float pitch, float roll)
{
    const float cy = cosf(yaw), sy = sinf(yaw), cp = cosf(pitch), sp = sinf(pitch), cr = cosf(roll), sr = sinf(roll);
    const vec3 axis[3] = { { cy, 0, -sy }, { 0, 1, 0 }, { sy, 0, cy } };
    mat3 m;
    for (int i = 0; i < 3; i++) {
        const vec3 a = axis[i];
        const vec3 b = v3(a.x, cp * a.y - sp * a.z, sp * a.y + cp * a.z);
        m.r[i] = v3(cr * b.x - sr * b.y, sr * b.x + cr * b.y, b.z);
    }
    return m;
}

#endif
#endif
