package oipgrpc

import (
	"context"

	"github.com/vitrine-project/vitrine/internal/fault"
	"github.com/vitrine-project/vitrine/internal/oip"
	"github.com/vitrine-project/vitrine/internal/wire/pb"
)

// TraceSetting implements the service. Settings that are unknown are ignored, as in Triton.
func (s *Server) TraceSetting(_ context.Context, r *pb.TraceSettingRequest) (*pb.TraceSettingResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	if r.ModelName != "" {
		if _, err := o.Models.Get(r.ModelName, ""); err != nil {
			return nil, fault.New(fault.Invalid, "Request for unknown model : %s", r.ModelName)
		}
	}
	values := map[string][]string{}
	for _, k := range oip.TraceNames {
		if v, ok := r.Settings[k]; ok {
			values[k] = v.GetValue() // nil clears
		}
	}
	if err := o.Trace.Update(r.ModelName, values); err != nil {
		return nil, err
	}
	answer := &pb.TraceSettingResponse{Settings: map[string]*pb.TraceSettingResponse_SettingValue{}}
	for k, v := range o.Trace.Get(r.ModelName) {
		answer.Settings[k] = &pb.TraceSettingResponse_SettingValue{Value: v}
	}
	return answer, nil
}

// LogSettings implements the service. Settings that are unknown are ignored, as in Triton.
func (s *Server) LogSettings(_ context.Context, r *pb.LogSettingsRequest) (*pb.LogSettingsResponse, error) {
	o, err := s.server()
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for k, v := range r.Settings {
		if err := logValue(values, k, v); err != nil {
			return nil, err
		}
	}
	if err := o.Logging.Update(values); err != nil {
		return nil, err
	}
	l := o.Logging.Get()
	return &pb.LogSettingsResponse{Settings: map[string]*pb.LogSettingsResponse_SettingValue{
		"log_file": text(l.File), "log_format": text(l.Format), "log_info": flag(l.Info), "log_warning": flag(l.Warning), "log_error": flag(l.Error),
		"log_verbose_level": {ParameterChoice: &pb.LogSettingsResponse_SettingValue_Uint32Param{Uint32Param: l.VerboseLevel}},
	}}, nil
}

func text(s string) *pb.LogSettingsResponse_SettingValue {
	return &pb.LogSettingsResponse_SettingValue{ParameterChoice: &pb.LogSettingsResponse_SettingValue_StringParam{StringParam: s}}
}

func flag(b bool) *pb.LogSettingsResponse_SettingValue {
	return &pb.LogSettingsResponse_SettingValue{ParameterChoice: &pb.LogSettingsResponse_SettingValue_BoolParam{BoolParam: b}}
}

// logValue takes a setting over if it is a known one.
func logValue(values map[string]any, k string, v *pb.LogSettingsRequest_SettingValue) error {
	choice := v.GetParameterChoice()
	switch k {
	case "log_info", "log_warning", "log_error":
		b, ok := choice.(*pb.LogSettingsRequest_SettingValue_BoolParam)
		if !ok {
			return fault.New(fault.Invalid, "expect boolean for '%s'", k)
		}
		values[k] = b.BoolParam
	case "log_verbose_level":
		n, ok := choice.(*pb.LogSettingsRequest_SettingValue_Uint32Param)
		if !ok {
			return fault.New(fault.Invalid, "expect int32 for '%s'", k)
		}
		values[k] = uint64(n.Uint32Param)
	case "log_file", "log_format":
		t, ok := choice.(*pb.LogSettingsRequest_SettingValue_StringParam)
		if !ok {
			return fault.New(fault.Invalid, "expect string for '%s'", k)
		}
		if k == "log_format" && t.StringParam != "default" && t.StringParam != "ISO8601" {
			return fault.New(fault.Invalid, "invalid argument for log_format, got: %s", t.StringParam) // HTTP's words differ
		}
		values[k] = t.StringParam
	}
	return nil
}
