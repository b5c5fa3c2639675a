/* model.h - the door of model: the networks and where their weights come from. Floor 3. */
#ifndef TRESS_MODEL_MODEL_H
#define TRESS_MODEL_MODEL_H
#include "model/controlnet.h"
#include "model/encoder.h"
#include "model/layer.h"
#include "model/lora.h"
#include "model/adapters.h"
#include "model/mmdit.h"
#include "model/mmdit_train.h"
#include "model/preset.h"
#include "model/reference.h"
#include "model/save.h"
#include "model/vae.h"
#include "model/vae_latent.h"
#include "model/weights.h"
#endif
