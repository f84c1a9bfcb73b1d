package embedapi

import (
	"strings"

	"github.com/vitrine-project/vitrine/internal/service"
)

// huggingFace are the names under which OpenAI published its weights there, by open_clip's name.
var huggingFace = map[string]string{
	"ViT-B-32":     "openai/clip-vit-base-patch32",
	"ViT-B-16":     "openai/clip-vit-base-patch16",
	"ViT-L-14":     "openai/clip-vit-large-patch14",
	"ViT-L-14-336": "openai/clip-vit-large-patch14-336",
}

// modelNames are the names that the loaded model answers to in OpenAI's API, the preferred one first.
func modelNames(m *service.Metadata) []string {
	var names []string
	add := func(n string) {
		if n != "" {
			names = append(names, n)
		}
	}
	add(m.Name)
	if m.ModelName == "" {
		return names
	}
	add(m.ModelName)
	if m.Pretrained != "" {
		add(m.ModelName + "/" + m.Pretrained)
	}
	if cleanTag(m.Pretrained) == "openai" {
		add(huggingFace[plainName(m.ModelName)])
	}
	return names
}

// isModelName tells whether name is the loaded model's, as open_clip writes names: "ViT-B/32" is
// "ViT-B-32", and with OpenAI's weights the -quickgelu names mean the same model.
func isModelName(m *service.Metadata, name string) bool {
	if name == m.Name && name != "" {
		return true
	}
	if m.ModelName == "" {
		return false
	}
	if cleanTag(m.Pretrained) == "openai" {
		return plainName(name) == plainName(m.ModelName)
	}
	return strings.ReplaceAll(name, "/", "-") == m.ModelName
}

func plainName(name string) string {
	return strings.TrimSuffix(strings.ReplaceAll(name, "/", "-"), "-quickgelu")
}

// isPretrained compares tags as open_clip does.
func isPretrained(m *service.Metadata, tag string) bool {
	return m.Pretrained != "" && cleanTag(tag) == cleanTag(m.Pretrained)
}

func cleanTag(tag string) string { return strings.ReplaceAll(strings.ToLower(tag), "-", "_") }

// isOpenAIModel tells whether OpenAI's "model" names the loaded model.
func isOpenAIModel(m *service.Metadata, names []string, id string) bool {
	for _, n := range names {
		if n == id {
			return true
		}
	}
	if name, tag, ok := strings.Cut(id, "/"); ok && isModelName(m, name) && isPretrained(m, tag) {
		return true
	}
	return isModelName(m, id)
}
