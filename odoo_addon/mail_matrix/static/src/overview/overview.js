import {Component, onWillStart, useState} from "@odoo/owl";
import {GraphRenderer} from "@web/views/graph/graph_renderer";
import {MatrixSetup} from "@mail_matrix/setup/setup";
import {PivotRenderer} from "@web/views/pivot/pivot_renderer";
import {_t} from "@web/core/l10n/translation";
import {deserializeDateTime} from "@web/core/l10n/dates";
import {formatInteger} from "@web/views/fields/formatters";
import {graphView} from "@web/views/graph/graph_view";
import {pivotView} from "@web/views/pivot/pivot_view";
import {registry} from "@web/core/registry";
import {useService} from "@web/core/utils/hooks";

/** What is wrong, what waits, and what was sent in the last day. */
export class MatrixOverview extends Component {
    static template = "mail_matrix.Overview";
    static components = {MatrixSetup};
    static props = {};

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({});
        onWillStart(async () => {
            Object.assign(
                this.state,
                await this.orm.call("matrix.log", "get_overview", [])
            );
        });
    }

    get waitingFor() {
        const since = this.state.oldest_queued_at;
        return since && deserializeDateTime(since).toRelative();
    }

    openBackend(id) {
        this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "matrix.backend",
            res_id: id,
            views: [[false, "form"]],
        });
    }

    openHeld(held) {
        if (!held.res_id) {
            return this.openFailing();
        }
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: held.res_model,
            res_id: held.res_id,
            views: [[false, "form"]],
        });
    }

    openRoomless(roomless) {
        this.action.doAction({
            type: "ir.actions.act_window",
            name: _t("Waiting for Their Room"),
            res_model: roomless.res_model,
            domain: [["id", "in", roomless.res_ids]],
            context: {active_test: false},
            views: [
                [false, "list"],
                [false, "form"],
            ],
        });
    }

    openRoom(room) {
        if (room.res_id) {
            return this.openHeld(room);
        }
        return this.action.doAction("mail_matrix.matrix_log_action", {
            additionalContext: {search_default_room_id: room.lane},
        });
    }

    openWeek() {
        this.action.doAction("mail_matrix.matrix_log_action", {
            additionalContext: {search_default_last_week: 1, search_default_group_date: 1},
        });
    }

    openFailing() {
        return this.action.doAction("mail_matrix.matrix_lane_action", {
            additionalContext: {search_default_failing: 1},
        });
    }

    openWaiting() {
        this.action.doAction("mail_matrix.matrix_message_waiting_action");
    }

    openLog(filter) {
        this.action.doAction("mail_matrix.matrix_log_action", {
            additionalContext: {[`search_default_${filter}`]: 1, search_default_last_day: 1},
        });
    }
}

// The colours of the tiles and chips, by status.
const COLORS = {ok: "#28a745", failed: "#dc3545"};

/** Whole messages, in the colours that their outcome has everywhere. */
class MatrixGraphRenderer extends GraphRenderer {
    getBarChartData() {
        const data = super.getBarChartData();
        const names = this.model.metaData.fields.status.selection;
        for (const dataset of data.datasets) {
            const status = names.find(([, name]) => name === dataset.label);
            if (status) {
                dataset.backgroundColor = COLORS[status[0]];
            }
        }
        return data;
    }

    getScaleOptions() {
        const scales = super.getScaleOptions();
        if (scales.y) {
            scales.y.ticks.precision = 0;
            scales.y.ticks.callback = (value) => formatInteger(value);
        }
        return scales;
    }
}

/**
 * @param {Function} renderer the view's own
 * @returns {Function} one that is shown below the overview
 */
function belowOverview(renderer) {
    return class extends Component {
        static template = "mail_matrix.BelowOverview";
        static components = {MatrixOverview};
        static props = ["*"];
        renderer = renderer;

        get isEmpty() {
            const {model} = this.props;
            return model.useSampleModel || !model.hasData();
        }
    };
}

registry.category("views").add("matrix_log_graph", {
    ...graphView,
    Renderer: MatrixGraphRenderer,
});
registry.category("views").add("matrix_overview_graph", {
    ...graphView,
    Renderer: belowOverview(MatrixGraphRenderer),
});
registry.category("views").add("matrix_overview_pivot", {
    ...pivotView,
    Renderer: belowOverview(PivotRenderer),
});
